"""How many small updates a coordinator counts per second, in each mode.

The floor is bare pika with as many processes, in synchronous rounds. Asynchronous rounds do more
for the same update: each is a round of its own, with a step and lines in the history.
"""

import statistics

import typer

from benchmarks import floor
from benchmarks.federation import broker, federation
from benchmarks.results import Row, machine, quartiles, report

NUM_BYTES = 263_400
MODES = {
    "sync": ("--mode=sync",),
    "buffered, goal 8": ("--mode=buffered", "--goal=8"),
    "async, goal 1": ("--mode=async",),
}


def main(participants: int = 16, updates: int = 480, turns: int = 3) -> None:
    """Compare updates per second with bare pika."""
    title = f"Updates per second, {participants} participants ({machine()})"
    per_round = {"sync": participants, "buffered, goal 8": 8, "async, goal 1": 1}
    ours: dict[str, list[float]] = {mode: [] for mode in MODES}
    theirs: list[float] = []
    with (
        broker() as url,
        federation(url, "benchmarks.identity:Small", participants, kind="light") as f,
    ):
        for _ in range(turns):
            for mode, flags in MODES.items():
                rounds = updates // per_round[mode]
                run = f.run(rounds, *flags, everybody=mode == "sync")
                counted = [e["updates"] for e in run.events if e["event"] == "round_closed"][1:]
                ours[mode].append(sum(counted) / sum(run.seconds))
            seconds = floor.run(
                url,
                num_bytes=NUM_BYTES,
                participants=participants,
                rounds=updates // participants + 1,
            )
            theirs += [participants / each for each in seconds[1:]]
    rows = [
        Row(
            mode,
            ours=statistics.median(rates),
            floor=statistics.median(theirs),
            unit="updates/s",
            details={"ours": quartiles(rates), "floor": quartiles(theirs)},
        )
        for mode, rates in ours.items()
    ]
    rows.append(
        Row(
            "async, goal 1, beside sync",
            ours=rows[-1].ours,
            floor=rows[0].ours,
            unit="updates/s",
            limit="sync x0.8",
        )
    )
    report("bench-updates", rows, title=title)


if __name__ == "__main__":
    typer.run(main)
