"""What a round costs with a small model: 65,850 float32 values, no training."""

from typing import Annotated

import typer

from benchmarks.federation import broker, federation
from benchmarks.results import machine, report
from benchmarks.rounds import compare

NUM_BYTES = 263_400
PROMISED_COUNT = 4
"""Participants for which a promise was made; these are measured with real ones too."""


def main(
    participants: Annotated[str, typer.Option(help="How many, separated by commas.")] = (
        "1,4,16,64"
    ),
    rounds: int = 60,
    turns: int = 4,
) -> None:
    """Compare rounds with bare pika that moves the same bytes."""
    title = f"Round overhead, 65,850 values ({machine()})"
    rows = []
    for count in map(int, participants.split(",")):
        for kind in ("real", "light") if count == PROMISED_COUNT else ("light",):
            with (
                broker() as url,
                federation(url, "benchmarks.identity:Small", count, kind=kind) as f,
            ):
                rows.append(
                    compare(
                        url,
                        f,
                        case=f"{count} participants" + (", with torch" if kind == "real" else ""),
                        num_bytes=NUM_BYTES,
                        participants=count,
                        rounds=rounds,
                        turns=turns,
                        limit="floor x2" if count in (4, 64) else "",
                    )
                )
    report("bench-overhead", rows, title=title)


if __name__ == "__main__":
    typer.run(main)
