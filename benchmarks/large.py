"""What a round costs with large models: 100 MB and 1 GB of float32, no training."""

from collections.abc import Iterator
from typing import Annotated

import typer

from benchmarks.federation import broker, federation
from benchmarks.results import Row, machine, report
from benchmarks.rounds import compare, processor_time

ENCODINGS = {
    "float32": (100_000_000, ()),
    "bfloat16 both ways": (50_000_000, ("--encoding=bfloat16", "--encoding-down=bfloat16")),
}
"""For each case the bytes per value, also the floor's, and the coordinator's flags."""


def large(rounds: int, turns: int) -> Iterator[Row]:
    """Measure 100 MB with 4 participants."""
    with broker() as url, federation(url, "benchmarks.identity:Large", 4, kind="real") as started:
        for name, (num_bytes, flags) in ENCODINGS.items():
            row = compare(
                url,
                started,
                case=f"100 MB, 4 participants, {name}",
                num_bytes=num_bytes,
                participants=4,
                rounds=rounds,
                turns=turns,
                limit="floor x1.1" if name == "float32" else "",
                flags=flags,
            )
            yield row
            yield processor_time(row)


def huge() -> Iterator[Row]:
    """Measure 1 GB with 2 participants, and the memory of the largest process."""
    with broker() as url, federation(url, "benchmarks.identity:Huge", 2, kind="real") as started:
        row = compare(
            url,
            started,
            case="1 GB, 2 participants, float32",
            num_bytes=1_000_000_000,
            participants=2,
            rounds=1,
            turns=1,
        )
    yield row
    yield processor_time(row)
    yield _largest_process(row)


def main(
    rounds: int = 4,
    turns: int = 3,
    sizes: Annotated[str, typer.Option(help="Models in MB, separated by commas.")] = "100,1000",
) -> None:
    """Compare rounds with bare pika that moves the same bytes."""
    title = f"Large models ({machine()})"
    rows: list[Row] = []
    if "100" in sizes.split(","):
        rows += large(rounds, turns)
    if "1000" in sizes.split(","):
        rows += huge()
    report("bench-large", rows, title=title)


def _largest_process(row: Row) -> Row:
    return Row(
        "1 GB: largest process (peak RSS) against the model",
        ours=row.details["largest process, bytes"] / 1e9,
        floor=1.0,
        unit="GB",
        limit="6 GB",
    )


if __name__ == "__main__":
    typer.run(main)
