"""A federation whose rounds are timed: real processes over a real broker, without training.

The participants keep running from one run to the next, as in use, so that runs and measurements of
the floor can alternate.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Literal

from benchmarks.processes import Peaks, processor_seconds, status
from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.local.broker_node import BrokerNode
from fanfold.local.parent_watch import VARIABLE as END_WITH_PARENT

ROOT = Path(__file__).parent.parent
LEAVE_SECONDS = 30.0
LONG_SECONDS = 0.1
"""A round that takes less is not asked for its processor time."""


class CoordinatorFailedError(RuntimeError):
    """It ended with this exit status; one that was killed with the signal's negative number."""

    def __init__(self, code: int) -> None:
        """Say which."""
        super().__init__(f"the coordinator failed: exit status {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Rounds:
    """The times and the memory of one run."""

    seconds: list[float]
    """From one round's close to the next one's: publish, collect, fold, commit, acknowledge."""
    events: list[dict[str, Any]] = field(repr=False)
    peaks: Peaks = field(repr=False)
    """The coordinator's memory."""
    largest_participant: int = 0
    """Peak RSS of the largest participant so far, in bytes."""
    processor_seconds: list[float] = field(default_factory=list, repr=False)
    """What coordinator and participants took together, in each of these rounds; empty where rounds
    are so short that reading it would be a part of them.
    """


class Federation:
    """Participants that keep running, and one coordinator process per run."""

    def __init__(self, url: str, task: str, participants: int, *, name: str) -> None:
        self._environment = os.environ | {
            BROKER_VARIABLE: url,
            END_WITH_PARENT: "1",
            # As `fanfold local` does where there are no more cores than participants.
            "OMP_NUM_THREADS": "1",
        }
        self._task = task
        self._name = name
        self._participants = participants
        self.processes: list[subprocess.Popen[bytes]] = []
        self.coordinator: subprocess.Popen[str] | None = None
        """Of the last run."""

    def start_real(self, *flags: str) -> None:
        """Start one process of `fanfold participant` for each; `{id}` in a flag is its id."""
        for index in range(self._participants):
            command = ["-m", "fanfold", "participant", f"--federation={self._name}"]
            self._start(
                *command,
                f"--id=participant-{index}",
                f"--task={self._task}",
                "--progress-seconds=2",
                *(flag.format(id=f"participant-{index}") for flag in flags),
            )

    def start_keeper(self, folder: Path) -> None:
        """Start a keeper of masks with the identity and the roster in a folder."""
        self._start(
            *("-m", "fanfold", "keeper", f"--federation={self._name}"),
            *(f"--identity={folder}", f"--roster={folder}", f"--state-dir={folder}/state"),
        )

    def start_region(self, name: str, out: Path, participants: int) -> "subprocess.Popen[bytes]":
        """Start a region of so many participants, the federation `name` of the same broker."""
        url = self._environment[BROKER_VARIABLE]
        return self._start(
            *("-m", "fanfold", "region", f"--id={name}", f"--upstream-federation={self._name}"),
            *(f"--upstream-broker={url}", f"--federation={name}", f"--out={out / name}"),
            *(f"--min-participants={participants}", "--reconnect-seconds=1"),
        )

    def start_light(self) -> None:
        """Start participants without torch (see `light`)."""
        self._start(
            "-m",
            "benchmarks.light",
            f"--federation={self._name}",
            f"--count={self._participants}",
        )

    def start_crowd(self, told: Path, *, first: int = 0) -> None:
        """Start participants that share one process (see `crowd`); what it prints goes to a file.

        They are called by the numbers from `first` on. The file is made before, so that it can be
        read at once.
        """
        command = ("-m", "benchmarks.crowd", f"--federation={self._name}")
        with told.open("wb") as output:
            self._start(
                *command, f"--count={self._participants}", f"--first={first}", output=output
            )

    def run(
        self,
        rounds: int,
        *flags: str,
        everybody: bool = True,
        closed: Callable[[int], None] = lambda _number: None,
        out: Path | None = None,
    ) -> Rounds:
        """Start a new coordinator, which runs so many rounds from version 0.

        `closed` is called after each round with its number, and may take its time. Its files go
        into `out`, or into a folder that is removed afterwards.

        Raises:
            CoordinatorFailedError: if it fails.
            RuntimeError: if `everybody` is set and a round closes with fewer updates than there are
                participants.
        """
        with tempfile.TemporaryDirectory() as own:
            command = [
                *(sys.executable, "-m", "fanfold", "coordinator", "--json"),
                *(f"--federation={self._name}", f"--task={self._task}", f"--out={out or own}"),
                *(f"--rounds={rounds}", f"--min-participants={self._participants}", *flags),
            ]
            coordinator = self.coordinator = subprocess.Popen(
                command,
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            with ended(coordinator):
                return self._listen(coordinator, everybody=everybody, closed=closed)

    def _listen(
        self,
        coordinator: "subprocess.Popen[str]",
        *,
        everybody: bool,
        closed: Callable[[int], None],
    ) -> Rounds:
        """Read events until the coordinator ends, and take the time at each round's close."""
        assert coordinator.stdout is not None  # started with a pipe
        times, taken, events = [], [], []
        peaks = Peaks()
        for line in coordinator.stdout:
            now = time.perf_counter()
            event = json.loads(line)
            events.append(event)
            if event["event"] == "run_started":
                peaks = Peaks.of(coordinator.pid)
            elif event["event"] == "round_closed":
                is_long = not times or now - times[-1] >= LONG_SECONDS
                times.append(now)
                taken.append(self._processor_seconds(coordinator.pid) if is_long else math.nan)
                if everybody and event["updates"] != self._participants:
                    raise RuntimeError(f"a round closed without all participants: {event}")
                peaks.look()
                closed(event["round"])
        if (code := coordinator.wait()) != 0:
            raise CoordinatorFailedError(code)
        seconds, processor = (
            [end - begin for begin, end in pairwise(each)] for each in (times, taken)
        )
        largest = max(status(each.pid).get("VmHWM", 0) for each in self.processes)
        known = [each for each in processor if not math.isnan(each)]
        return Rounds(seconds, events, peaks, largest, known)

    def _processor_seconds(self, coordinator: int) -> float:
        return sum(map(processor_seconds, (coordinator, *(each.pid for each in self.processes))))

    def _start(
        self, *command: str, output: IO[bytes] | int = subprocess.DEVNULL
    ) -> "subprocess.Popen[bytes]":
        started = subprocess.Popen(
            [sys.executable, *command],
            env=self._environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
        )
        self.processes.append(started)
        return started


@contextmanager
def federation(
    url: str,
    task: str,
    participants: int,
    *,
    kind: Literal["real", "light"],
    name: str = "bench",
    flags: tuple[str, ...] = (),
    keeper: Path | None = None,
) -> Iterator[Federation]:
    """Start participants, and end them when the block ends, also after an exception.

    Where there is a `keeper`, that is a folder with its identity and its roster.
    """
    with ExitStack() as stack:
        started = Federation(url, task, participants, name=name)
        if kind == "real":
            started.start_real(*flags)
        else:
            started.start_light()
        if keeper is not None:
            started.start_keeper(keeper)
        for process in started.processes:
            stack.enter_context(ended(process))
        yield started
        for process in started.processes:  # at once, so that they end in parallel
            process.send_signal(signal.SIGTERM)


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End a process with SIGTERM when the block ends, or with SIGKILL if that takes too long."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def broker() -> Iterator[str]:
    """Yield the URL of the broker named by FANFOLD_BROKER_URL, or of a private one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that all processes end
    given = os.environ.get(BROKER_VARIABLE)
    if given:
        yield given.split()[0]
        return
    with BrokerNode.start() as node:
        yield node.url
