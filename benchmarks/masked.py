"""What masks cost: rounds with 100 MB and 4 participants, plain and masked, in one run each."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import typer

from benchmarks.results import Row, machine, report

CASES = {"plain": (), "masked": ("--keepers=1",)}
MOST = 1.5
"""A masked round may take so many times as long as a plain one."""


def seconds_of_rounds(folder: Path, rounds: int, flags: tuple[str, ...]) -> float:
    """Return the median seconds of a round, without the first one."""
    command = [
        *(sys.executable, "-m", "fanfold", "local", "--json", "--participants=4"),
        *("--task=benchmarks.identity:Large", f"--rounds={rounds}", f"--out={folder}", *flags),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    seconds = [each["seconds"] for each in lines if each["event"] == "round_closed"]
    return float(median(seconds[1:]))


def main(rounds: int = 5) -> None:
    """Compare masked rounds with plain ones."""
    with TemporaryDirectory() as folder:
        plain, masked = (
            seconds_of_rounds(Path(folder) / name, rounds, flags) for name, flags in CASES.items()
        )
    row = Row(
        "100 MB, 4 participants, masked by one keeper, against plain",
        ours=masked,
        floor=plain,
        unit="s",
        limit=f"floor x{MOST}",
    )
    report("bench-masked", [row], title=f"Masks ({machine()})")


if __name__ == "__main__":
    typer.run(main)
