"""The coordinator's memory with a 100 MB model, from 2 to 64 participants.

There are two numbers: `RSS` is what the kernel counts for the process, including the files that it
maps; `anonymous` is memory that only this process can free. Updates that wait in the spool are in
neither: they are in the system's page cache, and only on the disk when memory is short. `Idle` is
the peak of a coordinator that runs the same rounds with a model of 263 kB.
"""

from typing import Annotated

import typer

from benchmarks.federation import broker, federation
from benchmarks.processes import Peaks
from benchmarks.results import Row, machine, report

MODEL_BYTES = 100_000_000
MIB = 1 << 20


def main(
    participants: Annotated[str, typer.Option(help="How many, separated by commas.")] = "2,16,64",
    rounds: int = 2,
    aggregator: Annotated[
        str, typer.Option(help="Measure this rule that keeps whole updates, beside the mean.")
    ] = "",
    gathered: Annotated[int, typer.Option(help="Participants of that comparison.")] = 32,
) -> None:
    """Measure the peak of the coordinator's memory."""
    title = f"Coordinator's memory, 100 MB model ({machine()})"
    if aggregator:
        report("bench-memory-gathered", gathering(aggregator, gathered, rounds), title=title)
        return
    counts = [int(count) for count in participants.split(",")]
    idle = measure("Small", min(counts), rounds)
    peaks = {count: measure("Large", count, rounds) for count in counts}
    fewest = peaks[min(peaks)]
    rows = []
    for count, peak in peaks.items():
        against = f"{count} against {min(peaks)} participants"
        details = {
            "idle": idle.peak / MIB,
            "idle anonymous": idle.peak_anonymous / MIB,
            "models above idle": (peak.peak - idle.peak) / MODEL_BYTES,
        }
        rows += [
            Row(
                f"peak RSS, {against}",
                ours=peak.peak / MIB,
                floor=fewest.peak / MIB,
                unit="MiB",
                limit="fewest x1.15",
                details=details,
            ),
            Row(
                f"peak anonymous, {against}",
                ours=peak.peak_anonymous / MIB,
                floor=fewest.peak_anonymous / MIB,
                unit="MiB",
                details=details,
            ),
            Row(
                f"peak RSS above idle, {count} participants",
                ours=(peak.peak - idle.peak) / MIB,
                floor=MODEL_BYTES / MIB,
                unit="MiB",
                limit="model x6",
                details=details,
            ),
        ]
    report("bench-memory", rows, title=title)


def gathering(aggregator: str, participants: int, rounds: int) -> list[Row]:
    """Measure a rule that keeps the whole updates of a round, beside the mean."""
    whole = measure("Large", participants, rounds, f"--aggregator={aggregator}", "--quorum=3")
    mean = measure("Large", participants, rounds)
    case = f"{aggregator} against mean, {participants} participants"
    peaks = (whole.peak / MIB, mean.peak / MIB)
    anonymous = (whole.peak_anonymous / MIB, mean.peak_anonymous / MIB)
    return [
        Row(f"peak RSS, {case}", peaks[0], "MiB", floor=peaks[1], limit="mean x1.3"),
        Row(f"peak anonymous, {case}", anonymous[0], "MiB", floor=anonymous[1]),
    ]


def measure(task: str, participants: int, rounds: int, *flags: str) -> Peaks:
    """Return the peaks of a coordinator with so many participants."""
    with (
        broker() as url,
        federation(url, f"benchmarks.identity:{task}", participants, kind="light") as started,
    ):
        return started.run(rounds, "--deadline-seconds=3000", *flags).peaks


if __name__ == "__main__":
    typer.run(main)
