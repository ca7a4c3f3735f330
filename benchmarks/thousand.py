"""What a thousand participants on one broker cost, beside 64, and whether they all come back.

Participants are light ones in one process (`crowd`), each with a connection and a queue of its own.
In the middle of the last run the broker is killed and started again. It is a private node, or a
container of the image that `--broker-image` names.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import typer

from benchmarks.broker_container import BrokerContainer
from benchmarks.federation import Federation, Rounds, ended
from benchmarks.processes import allow_open_files
from benchmarks.results import Row, machine, quartiles, report
from tests.nodes import BrokerNode

MIB = 1 << 20
MOST_RATIO = 1.3
BACK_SECONDS = 60.0
DEADLINE = "--deadline-seconds=600"
FILES_EACH = 4
"""Open files of the broker for each participant: its connection, and its queue's."""


class Broker(Protocol):
    """A private node, or a container."""

    @property
    def url(self) -> str:
        """With the password."""

    def kill(self) -> None:
        """End it as a power cut would."""

    def resume(self) -> None:
        """Start it again, and wait until it takes connections."""


@dataclass(slots=True)
class Restart:
    """Kills the broker after a round, and takes the time until everything is as before."""

    broker: Broker
    after_round: int
    killed_at: float = 0.0
    broker_seconds: float = 0.0
    """From its end until it takes connections again."""
    round_seconds: float = 0.0
    """From its end until the round is closed that it interrupted."""

    def closed(self, number: int) -> None:
        """Take note of a round."""
        if number == self.after_round:
            self.killed_at = time.monotonic()
            self.broker.kill()
            self.broker.resume()
            self.broker_seconds = time.monotonic() - self.killed_at
        elif number == self.after_round + 1:
            self.round_seconds = time.monotonic() - self.killed_at


def back_seconds(told: Path) -> float:
    """Return the seconds from the loss of the first connection until everybody heard again."""
    _start, again = map(json.loads, told.read_text().splitlines())
    seconds: float = again["seconds"]
    return seconds


def main(
    few: int = 64,
    many: int = 1000,
    rounds: int = 5,
    turns: int = 2,
    broker_image: str | None = None,
) -> None:
    """Compare rounds of few and of many participants, and restart the broker among many."""
    allow_open_files(FILES_EACH * (few + many))
    title = f"{many} participants beside {few} ({machine()})"
    small, large = list[Rounds](), list[Rounds]()
    with (
        BrokerContainer(broker_image) if broker_image else BrokerNode.start() as broker,
        crowd(broker, few, name="few") as (few_started, _),
        crowd(broker, many, name="many") as (many_started, told),
    ):
        for _ in range(turns):  # by turns, for what else the machine does changes
            small.append(few_started.run(rounds * many // few // 2, DEADLINE))
            large.append(many_started.run(rounds, DEADLINE))
        restart = Restart(broker, after_round=2)
        many_started.run(5, DEADLINE, closed=restart.closed)
        seconds_away = back_seconds(told)
    rows = [
        _beside(f"{many} participants beside {few}", large, small, many, few),
        Row(
            f"coordinator's peak RSS, {many} beside {few}",
            max(run.peaks.peak for run in large) / MIB,
            "MiB",
            floor=max(run.peaks.peak for run in small) / MIB,
            limit=f"x{MOST_RATIO}",
        ),
        Row(
            f"broker killed among {many}: everybody hears again",
            seconds_away,
            "s",
            floor=restart.broker_seconds,
            limit=f"{BACK_SECONDS:g} s",
        ),
        Row(
            "... and the round that it interrupted is closed",
            restart.round_seconds,
            "s",
            floor=restart.broker_seconds,
        ),
    ]
    target = "bench-thousand-container" if broker_image else "bench-thousand"
    report(target, rows, title=title)
    broken = [row.case for row in rows[:2] if (row.to_floor or 0) > MOST_RATIO]
    broken += [row.case for row in rows[2:3] if row.ours > BACK_SECONDS]
    if broken:
        sys.exit(f"{target}: more than is promised: {', '.join(broken)}")


@contextmanager
def crowd(
    broker: Broker, count: int, *, name: str, first: int = 0
) -> Iterator[tuple[Federation, Path]]:
    """Start so many participants of a federation, and end them when the block ends.

    They are called by the numbers from `first` on.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told"
        started = Federation(broker.url, "benchmarks.identity:Small", count, name=name)
        started.start_crowd(told, first=first)
        with ended(started.processes[0]):
            yield started, told


def _beside(case: str, large: list[Rounds], small: list[Rounds], many: int, few: int) -> Row:
    ours, floor = (
        [seconds / count * 1e3 for run in runs for seconds in run.seconds]
        for runs, count in ((large, many), (small, few))
    )
    return Row(
        case,
        statistics.median(ours),
        "ms/participant",
        floor=statistics.median(floor),
        limit=f"x{MOST_RATIO}",
        details={"ours": quartiles(ours), "floor": quartiles(floor)},
    )


if __name__ == "__main__":
    typer.run(main)
