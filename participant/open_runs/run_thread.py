"""One run at work: an ordinary participant on a thread of its own."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import structlog

from fanfold.learning import TrainingAbandoned
from fanfold.participant.open_runs.turns import Turn
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.run_messages import OpenRun

Stopper = Callable[[str], None]


class TakePart(Protocol):
    """Runs a participant of one run until it is told to leave."""

    def __call__(
        self, run: OpenRun, *, say: Say, on_ready: Callable[[Stopper], None], turn: Turn
    ) -> bool:
        """Return False if the task trains on, because it does not ask whether it should stop."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """What the participant of one run tells."""

    run: str
    event: Event


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The participant of one run has ended."""

    thread: "RunThread"
    is_over: bool
    """False if its task trains on."""
    error: BaseException | None = None
    """Why it ended without being told to."""


class RunThread:
    """Takes part in one run, beginning at once. Its methods belong to the service's thread.

    Args:
        run: the run.
        take_part: called in the thread.
        turn: of this run.
        deliver: called in the thread with what it says, and once with its end.
    """

    def __init__(
        self,
        run: OpenRun,
        take_part: TakePart,
        *,
        turn: Turn,
        deliver: Callable[[Said | RunEnded], None],
    ) -> None:
        self.run = run
        self.is_stopping = False
        self._take_part = take_part
        self._turn = turn
        self._deliver = deliver
        self._lock = threading.Lock()
        self._stop: Stopper | None = None
        self._reason: str | None = None
        # A daemon: a task that never asks whether it should stop must not keep the process alive.
        threading.Thread(target=self._serve, name=f"run {run.run}", daemon=True).start()

    def stop(self, reason: str) -> None:
        """Let it leave; its end is delivered later."""
        with self._lock:
            stop, self._reason = self._stop, reason
        self.is_stopping = True
        if stop is None:
            self._turn.withdraw()  # it has not begun, and may wait for its first turn
        else:
            stop(reason)

    def _ready(self, stop: Stopper) -> None:
        with self._lock:
            self._stop, reason = stop, self._reason
        if reason is not None:
            stop(reason)

    def _say(self, event: Event) -> None:
        self._deliver(Said(self.run.run, event))

    def _serve(self) -> None:
        structlog.contextvars.bind_contextvars(run=self.run.run)
        with ExitStack() as stack:
            stack.push(self._failed)
            is_over = self._take_part(
                self.run, say=self._say, on_ready=self._ready, turn=self._turn
            )
            stack.pop_all()
            self._deliver(RunEnded(self, is_over))

    def _failed(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: object
    ) -> bool:
        """Deliver an error, whichever it is: it is judged in the service's thread."""
        is_told = isinstance(error, TrainingAbandoned)  # to stop, before its first turn
        self._deliver(RunEnded(self, is_over=True, error=None if is_told else error))
        return True
