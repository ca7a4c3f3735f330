"""The rounds below: each is of a version from above, and waits there until the next one comes."""

import math
from dataclasses import replace
from typing import Any

from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.round_loop import Coordinator
from fanfold.region.handover import Handover
from fanfold.region.regional_run import RegionalRun
from fanfold.schemas.events.event import Say
from fanfold.schemas.messages import GlobalParameters
from fanfold.transport import Delivery


class SumOnItsWay:
    """Waits for what comes from above after a sum went there: a `ClosedSet`."""

    due_at = math.inf

    def __init__(
        self, run: RegionalRun, handover: Handover, *, publisher: Publisher, say: Say
    ) -> None:
        """Send nothing yet."""
        del publisher, say
        self._run = run
        self._handover = handover

    @property
    def is_closed(self) -> bool:
        """Whether the set of the open round is closed, now or by an earlier process."""
        return self._run.is_closed

    @property
    def is_done(self) -> bool:
        """Whether the next version is there, or none will come."""
        is_over = self._handover.is_over(self._run.run_id)
        return is_over or self._handover.after(self._run.answers) is not None

    def close_set(self) -> None:
        """Let no update into the sum any more."""
        self._run.is_closed = True

    def begin(self, now: float) -> None:
        """Hand the sum up."""
        del now
        self._handover.answer(self._run.answers, self._run.total())

    def tend(self, now: float) -> None:
        """Do nothing: the participant above asks again by itself."""

    def take(self, delivery: Delivery, now: float) -> None:
        """Drop what no keeper was asked for."""

    def finish(self) -> None:
        """Let the run go on with the next version."""
        if not self._handover.is_over(self._run.run_id):
            self._run.next = self._handover.after(self._run.answers)


class RegionalCoordinator(Coordinator):
    """Goes on as long as the run above does."""

    _run: RegionalRun

    def __init__(self, *parts: Any, handover: Handover, **more: Any) -> None:
        """Begin at the version that the run was given; the rest is as in `Coordinator`."""
        super().__init__(*parts, **more)
        self._handover = handover
        self._has_ended = False

    def _await_participants(self) -> None:
        run = self._run
        if run.num_lost:
            reason = f"{run.num_lost} updates of a version that nobody above waits for any more"
            self._reporter.record_lost_set(run.version, reason)
        super()._await_participants()

    @property
    def _is_over(self) -> bool:
        self._has_ended = self._has_ended or self._handover.is_over(self._run.run_id)
        return self._has_ended

    @property
    def _is_wanted(self) -> bool:
        return not self._is_over

    def _announcement(self) -> GlobalParameters:
        return self._run.announcement()

    def _result(self) -> RunResult:
        result, over = super()._result(), self._handover.outcome(self._run.run_id)
        if over is None:
            return result
        return replace(
            result, accuracy=over.accuracy, reason=over.reason, upstream_version=over.version
        )
