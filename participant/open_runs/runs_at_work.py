"""The runs that one participant takes part in, as the last word of the resident coordinator is."""

import time
from collections.abc import Callable, Mapping

import structlog

from fanfold.learning import LearningError
from fanfold.participant.open_runs.allowed import Allowance
from fanfold.participant.open_runs.run_thread import RunEnded, RunThread, Said, TakePart
from fanfold.participant.open_runs.turns import Turns
from fanfold.participant.worker_events import last_words
from fanfold.schemas.errors import (
    ACCESS_REFUSED,
    BrokerUnreachableError,
    FanfoldError,
    InvalidInputError,
    LoginRefusedError,
    RefusedByBrokerError,
)
from fanfold.schemas.events.event import InRun, Say
from fanfold.schemas.events.participant import OwnRunDeclined, RunLeft, RunServed
from fanfold.schemas.events.shared import TrainingNote
from fanfold.schemas.run_messages import OpenRun, OpenRuns

AGAIN_SECONDS = 5.0
"""Pause before a run is begun again whose broker could not be reached."""
OTHER_CODE = (
    "the task's code here is not the one that was submitted; --allow TASK@sha256:HASH refuses that"
)
NO_RIGHTS = (
    "the broker does not let this participant read its queue in runs: its login was made by an "
    "earlier release; `fanfold revoke` it and `fanfold enroll` it again"
)

log = structlog.get_logger()


class RunsAtWork:
    """Begins what is open and allowed, and ends what is not open any more.

    Belongs to the service's thread.

    Args:
        allowance: judges runs.
        take_part: of one run, on a thread of its own.
        deliver: called in the threads of runs.
        tidy: removes what a run that is over has left.
        say: called with what a person should know.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        allowance: Allowance,
        take_part: TakePart,
        *,
        deliver: Callable[[Said | RunEnded], None],
        tidy: Callable[[OpenRun], None],
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowance = allowance
        self._take_part = take_part
        self._deliver = deliver
        self._tidy = tidy
        self._say = say
        self._clock = clock
        self._turns = Turns()
        self._open: Mapping[str, OpenRun] = {}
        self._threads: dict[str, RunThread] = {}
        self._again_at: dict[str, float] = {}
        self._over: set[str] = set()
        """Runs whose coordinators have said that they are finished."""
        self._is_leaving = False
        self.declined: dict[str, str] = {}
        """Why this participant takes no part in these open runs."""

    @property
    def at_work(self) -> int:
        """How many runs it takes part in, or is about to leave."""
        return len(self._threads)

    @property
    def next_duty_at(self) -> float:
        """When `do_duties` has something to do."""
        return min(self._again_at.values(), default=float("inf"))

    def follow(self, word: OpenRuns) -> None:
        """Take part in the runs that are open, as far as they are allowed, and in no others."""
        self._open = {run.run: run for run in word.runs}
        for known in (self.declined, self._again_at):
            for name in known.keys() - self._open.keys():
                del known[name]
        self._agree()

    def do_duties(self) -> None:
        """Begin again what could not begin."""
        now = self._clock()
        due = [name for name, at in self._again_at.items() if now >= at]
        for name in due:
            del self._again_at[name]
        if due:
            self._agree()

    def over(self, run: str) -> None:
        """Note that a run is finished, and not only closed."""
        self._over.add(run)

    def ended(self, end: RunEnded) -> None:
        """Take note of the end of a run's thread.

        Raises:
            LoginRefusedError: if the broker does not let us in any more.
        """
        run = end.thread.run
        del self._threads[run.run]
        match end.error:
            case LoginRefusedError():
                raise end.error
            case BrokerUnreachableError():
                self._again_at[run.run] = self._clock() + AGAIN_SECONDS
            case RefusedByBrokerError(code=code) if code == ACCESS_REFUSED:
                self._decline(run, NO_RIGHTS)
            case None if not end.thread.is_stopping:
                self._decline(run, "its participant has left without being told to")
            case None:
                self._tidy_up(run)
                self._say(RunLeft(run.run))
            case error:
                log.error("a run has failed", run=run.run, exc_info=error)
                self._decline(run, last_words(error, (FanfoldError, LearningError)))
        self._agree()

    def leave(self, reason: str) -> None:
        """End all of them, and begin no other."""
        self._is_leaving = True
        for thread in self._threads.values():
            thread.stop(reason)

    def _agree(self) -> None:
        """Make what is at work agree with what is open."""
        for thread in self._threads.values():
            if self._open.get(thread.run.run) != thread.run and not thread.is_stopping:
                thread.stop("the run is not open any more")
        for name, run in self._open.items():
            is_waiting = name in self._again_at or name in self.declined or self._is_leaving
            if name not in self._threads and not is_waiting:
                self._begin(run)

    def _begin(self, run: OpenRun) -> None:
        refusal = self._allowance.refusal(run)
        if refusal is not None:
            self._decline(run, refusal)
            return
        self._say(RunServed(run.run, run.task))
        if not self._allowance.load(run):
            self._say(InRun(run.run, TrainingNote(OTHER_CODE)))
        self._threads[run.run] = RunThread(
            run, self._take_part, turn=self._turns.turn(), deliver=self._deliver
        )

    def _tidy_up(self, run: OpenRun) -> None:
        """Remove what nobody needs any more; a run that is only paused finds all it left."""
        if run.run in self._over and run.run not in self._open:
            self._over.remove(run.run)
            try:
                self._tidy(run)
            except (InvalidInputError, OSError) as error:
                log.warning("what a run left is still there", run=run.run, reason=str(error))

    def _decline(self, run: OpenRun, reason: str) -> None:
        if run.run in self._open:
            self.declined[run.run] = reason
        self._say(OwnRunDeclined(run.run, run.task, reason))
