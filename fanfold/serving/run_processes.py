"""The coordinators of open runs, as child processes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGUSR1

from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.access.credentials import VARIABLE as CREDENTIALS_VARIABLE
from fanfold.local.child_process import ChildProcess, ProcessEnded
from fanfold.local.parent_watch import VARIABLE as END_WITH_PARENT
from fanfold.registry.record import RunRecord
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import RoundClosed, RunFinished, RunStarted, Stopping
from fanfold.schemas.events.event import Event
from fanfold.serving.commands import coordinator_command
from fanfold.serving.ends import Ending
from fanfold.serving.settings import ServeSettings
from fanfold.transport import Backoff, EventBuffer

LOG = "coordinator.log"
LEAVE_SECONDS = 15.0
PAUSE = Backoff(first_seconds=0.5, longest_seconds=30.0)


@dataclass(frozen=True, slots=True)
class FromRun:
    """Something that a run's coordinator told, or its end."""

    run: str
    told: Event | ProcessEnded


@dataclass(slots=True)
class _AtWork:
    """One coordinator."""

    child: ChildProcess
    finishes: bool
    """Whether it only writes the models, and trains no more."""
    is_ending: bool = False
    was_started: bool = False
    finished: RunFinished | None = None


class RunProcesses:
    """Starts and ends the coordinators. Belongs to the service's thread.

    A coordinator ends with the service that started it, also where that was killed: then its
    standard input is closed. The next one waits until it has gone, by the run's own lock.
    """

    def __init__(self, settings: ServeSettings, event_buffer: EventBuffer) -> None:
        """Start nothing yet; what coordinators tell goes into the buffer as `FromRun`."""
        self._settings = settings
        self._event_buffer = event_buffer
        self._at_work: dict[str, _AtWork] = {}
        self._failures: dict[str, int] = {}
        self._environment = {
            name: value for name, value in os.environ.items() if name != CREDENTIALS_VARIABLE
        } | {BROKER_VARIABLE: " ".join(settings.broker), END_WITH_PARENT: "1"}

    def __len__(self) -> int:
        return len(self._at_work)

    def __contains__(self, run: object) -> bool:
        return run in self._at_work

    def start(self, record: RunRecord, folder: Path, *, rounds: int | None = None) -> None:
        """Start a run's coordinator; see `coordinator_command`.

        Raises:
            OSError: if the disk, or the system, refuses.
        """
        log = folder / LOG
        log.touch()
        self._at_work[record.run] = _AtWork(
            ChildProcess(
                f"the coordinator of {record.run}",
                coordinator_command(self._settings, record, folder, rounds=rounds),
                environment=self._environment,
                log=log,
                tells_events=True,
                happened=self._teller(record.run),
            ),
            finishes=rounds is not None,
        )

    def end(self, run: str) -> None:
        """Ask a run's coordinator to commit and end, if there is one."""
        at_work = self._at_work.get(run)
        if at_work is not None and not at_work.is_ending:
            at_work.is_ending = True
            at_work.child.terminate()

    def close_round(self, run: str) -> None:
        """Ask a run's coordinator to close the round that is open.

        Raises:
            InvalidInputError: if it has not begun yet.
        """
        at_work = self._at_work.get(run)
        if at_work is None or not at_work.was_started:
            raise InvalidInputError(f"the run {run} has no open round yet; try again in a moment")
        at_work.child.terminate(SIGUSR1)

    def finishes(self, run: str) -> bool:
        """Whether a run's coordinator only writes its models, and trains no more."""
        return self._at_work[run].finishes

    def hear(self, run: str, told: Event) -> None:
        """Take note of what a coordinator tells."""
        at_work = self._at_work[run]
        match told:
            case RunStarted():
                at_work.was_started = True
            case RoundClosed():
                self._failures.pop(run, None)
            case RunFinished():
                at_work.finished = told
            case Stopping():
                at_work.is_ending = True

    def ended(self, run: str, ended: ProcessEnded) -> Ending:
        """Return how a coordinator ended; from now on the run has none."""
        at_work = self._at_work.pop(run)
        at_work.child.close(0)
        self._failures[run] = self._failures.get(run, 0) + 1
        return Ending(
            code=ended.code,
            words=at_work.child.reason_of_the_end(),
            has_message=at_work.child.error_message() is not None,
            finished=at_work.finished,
            was_started=at_work.was_started,
            was_stopped=at_work.is_ending,
            failures=self._failures[run],
        )

    def pause_seconds(self, run: str) -> float:
        """Return how long to wait before a run's next coordinator: longer each time."""
        return PAUSE.seconds(max(1, self._failures.get(run, 1)))

    def close(self) -> None:
        """Ask all to end, and kill those that do not."""
        for at_work in self._at_work.values():
            at_work.child.terminate()
        for at_work in self._at_work.values():
            at_work.child.close(LEAVE_SECONDS)

    def _teller(self, run: str) -> Callable[[Event | ProcessEnded], None]:
        return lambda told: self._event_buffer.put_event(FromRun(run, told))
