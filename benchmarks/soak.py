"""Does a coordinator grow? Six participants train, and every few seconds one is started anew.

    python -m benchmarks.soak --minutes 20 --report docs/soak.md

Half of them are killed, half are asked to leave. What the coordinator uses is looked at all the
while, and a straight line is laid through each quantity. Ends with 1 where one of them grows.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.federation import ROOT, ended
from benchmarks.growth import Line, line_through
from benchmarks.processes import status
from benchmarks.results import machine
from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.local.parent_watch import VARIABLE as END_WITH_PARENT
from tests.nodes import BrokerNode

MIB = 1 << 20
LOOK_SECONDS = 5.0
SETTLES = 0.25
"""This part of the run comes first and does not count: caches fill, and memory is laid out."""
LOGS = {"history.jsonl", "events.jsonl", "events-before.jsonl"}
"""Files to which every round adds lines, and what they were called before."""
TOLERANCES = {
    "anonymous memory, MiB": 4.0,
    "RSS, MiB": 4.0,
    "descriptors": 1.0,
    "threads": 1.0,
    "queues": 0.5,
    "messages ready": 5.0,
    "disk without the logs, MiB": 1.0,
    "bytes of log in a round": 100.0,
}
"""What each may rise by within a run, for it to be flat."""


@dataclass(slots=True)
class Soak:
    """A federation under way, and what was seen of it."""

    node: BrokerNode
    folder: Path
    stack: ExitStack
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    minutes: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)
    num_restarts: int = 0
    num_rounds: int = 0
    """Rounds that were closed by the last look."""
    _num_logged: dict[Path, int] = field(default_factory=dict)
    """Bytes of each log that were read."""

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a service, which ends with this block."""
        process = subprocess.Popen(
            [sys.executable, "-m", "fanfold", *command, "--federation=soak", "--task=digits"],
            env=os.environ
            | {BROKER_VARIABLE: self.node.url, END_WITH_PARENT: "1", "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.stack.enter_context(ended(process))
        return process

    def participant(self, index: int, of: int) -> "subprocess.Popen[bytes]":
        """Start a participant that goes on from its state."""
        return self.start(
            *("participant", f"--id=soak-{index}", f"--partition-index={index}"),
            *(f"--num-partitions={of}", f"--state-dir={self.folder / f'state-{index}'}"),
        )

    def look(self, coordinator: "subprocess.Popen[bytes]", minute: float) -> None:
        """Note what the coordinator uses now."""
        memory, process = status(coordinator.pid), Path(f"/proc/{coordinator.pid}")
        queues = [
            int(line.split()[1])
            for line in self.node.ctl("list_queues", "name", "messages_ready").splitlines()
            if line.startswith("soak.")
        ]
        out = self.folder / "run"
        logged = [self._news(out / name) for name in LOGS]
        rounds = sum(lines.count(b'"event":"round",') for lines in logged)
        self.num_rounds += rounds
        values = {
            "anonymous memory, MiB": memory["RssAnon"] / MIB,
            "RSS, MiB": memory["VmRSS"] / MIB,
            "descriptors": len(list((process / "fd").iterdir())),
            "threads": len(list((process / "task").iterdir())),
            "queues": len(queues),
            "messages ready": sum(queues),
            "disk without the logs, MiB": sum(_sizes(out)) / MIB,
            "bytes of log in a round": sum(map(len, logged)) / max(1, rounds),
        }
        self.minutes.append(minute)
        for name, value in values.items():
            self.seen.setdefault(name, []).append(value)

    def _news(self, log: Path) -> bytes:
        """Return what was added to a log since the last look."""
        if not log.exists():
            return b""
        with log.open("rb") as file:
            file.seek(self._num_logged.get(log, 0))
            lines = file.read()
        self._num_logged[log] = self._num_logged.get(log, 0) + len(lines)
        return lines

    def lines(self) -> dict[str, Line]:
        """Return the line of each quantity, without the time in which it settles."""
        begin = int(len(self.minutes) * SETTLES)
        minutes = self.minutes[begin:]
        return {name: line_through(minutes, values[begin:]) for name, values in self.seen.items()}


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        if path.name not in LOGS and path.is_file():
            yield path.stat().st_size


def main(
    minutes: float = 20.0,
    participants: int = 6,
    every: Annotated[float, typer.Option(help="Seconds between two restarts.")] = 10.0,
    written: Annotated[Path | None, typer.Option("--report", help="A page to write.")] = None,
) -> None:
    """Let a federation run, start somebody anew all the time, and judge what it used."""
    title = f"{minutes:g} minutes, {participants} participants, {machine()}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that all processes end
    with (
        BrokerNode.start() as node,
        tempfile.TemporaryDirectory() as folder,
        ExitStack() as stack,
    ):
        soak = Soak(node, Path(folder), stack)
        _run(soak, minutes, participants, every)
    lines = soak.lines()
    text = page(soak, lines, title)
    print(text)
    if written is not None:
        written.write_text(text)
    grown = [name for name, line in lines.items() if line.grows(TOLERANCES[name])]
    if grown:
        sys.exit(f"soak: the coordinator grows: {', '.join(grown)}")


def _run(soak: Soak, minutes: float, participants: int, every: float) -> None:
    coordinator = soak.start(
        *("coordinator", "--json", f"--out={soak.folder / 'run'}", "--mode=buffered", "--goal=3"),
        *("--rounds=1000000", f"--min-participants={participants}", "--evaluate-every=20"),
    )
    present = [soak.participant(index, participants) for index in range(participants)]
    while not soak.num_rounds:  # until they all have joined
        time.sleep(1)
        if (soak.folder / "run" / "history.jsonl").exists():
            soak.look(coordinator, 0.0)
    soak.minutes.clear()
    soak.seen.clear()
    began = time.monotonic()
    next_look, next_end = began, began + every
    while (now := time.monotonic()) < began + minutes * 60:
        if coordinator.poll() is not None:
            sys.exit(f"soak: the coordinator ended with {coordinator.returncode}")
        for index, process in enumerate(present):  # who was asked to leave finishes its training
            if process.poll() is not None:
                soak.num_restarts += 1
                present[index] = soak.participant(index, participants)
        if now >= next_end:
            next_end += every
            soak.dice.choice(present).send_signal(
                soak.dice.choice((signal.SIGKILL, signal.SIGTERM))
            )
        if now >= next_look:
            next_look += LOOK_SECONDS
            soak.look(coordinator, (now - began) / 60)
        time.sleep(0.2)


def page(soak: Soak, lines: dict[str, Line], title: str) -> str:
    """Return what was seen as a page."""
    rows = "".join(
        f"| {name} | {line.mean:.6g} | {line.slope:+.3g} ± {line.error:.2g} | {line.gain:+.3g} "
        f"| {TOLERANCES[name]:g} | {line.verdict(TOLERANCES[name])} |\n"
        for name, line in lines.items()
    )
    return (
        f"# A soak\n\n`make soak`: {title}. {soak.num_rounds} rounds of three updates, "
        f"{soak.num_restarts} participants started anew, killed or asked to leave before.\n\n"
        "What the coordinator uses, and a straight line through it: its slope beside the slope's\n"
        "standard error, and what it rises by within the run. The first quarter does not count.\n"
        "A quantity grows if it rises by more than is allowed, and by three errors; if by\n"
        "fewer, a longer run has to tell.\n\n"
        "| | mean | slope a minute | within the run | allowed | |\n"
        f"| --- | ---: | ---: | ---: | ---: | --- |\n{rows}"
    )


if __name__ == "__main__":
    typer.run(main)
