"""The history of a simulated run, in the coordinator's own format, with simulated seconds."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from torch import Tensor

from fanfold.coordinator.aggregation.contribution import Contribution, shares_of
from fanfold.coordinator.aggregation.metric_means import finite, weighted_means
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.evaluation.run_result import tell_if_unchanged
from fanfold.coordinator.persistence.history import History
from fanfold.coordinator.rounds.metric_watch import MetricWatch
from fanfold.coordinator.rounds.reports import PARTICIPANTS
from fanfold.schemas.events.coordinator import EndsEarly, RoundClosed
from fanfold.schemas.events.event import Say
from fanfold.schemas.messages import Update
from fanfold.schemas.timestamps import iso_utc
from fanfold.simulation.event_loop import EPOCH

Evaluate = Callable[[int, Mapping[str, Tensor]], Mapping[str, float]]
"""Measures a version, given its number and tensors, on held-out data."""


LATEST_SECONDS = 250_000_000_000.0
"""A simulation may last longer than the calendar, whose last year is 9999."""


def simulated_time(seconds: float) -> datetime:
    """Return the time so many simulated seconds after the beginning of 1970."""
    return datetime.fromtimestamp(min(seconds, LATEST_SECONDS), UTC)


class RoundRecorder:
    """Counts the updates of the open round, and writes a record when the round closes.

    Evaluation takes no simulated time.
    """

    def __init__(
        self,
        history: History,
        *,
        evaluate: Evaluate | None,
        evaluate_every: int,
        evaluate_seconds: float | None,
        watch: MetricWatch,
        say: Say,
    ) -> None:
        """Write to `history`.

        Args:
            history: an empty history.
            evaluate: None if there is no held-out data: then loss and accuracy are the means of
                what participants report.
            evaluate_every: rounds between two evaluations.
            evaluate_seconds: simulated seconds between two evaluations, instead of that.
            watch: says which version is the best, and when the run should end.
            say: called with the event of every round of which something was measured.
        """
        self._history = history
        self._evaluate = evaluate
        self._evaluate_every = evaluate_every
        self._evaluate_seconds = evaluate_seconds
        self.watch = watch
        self._say = say
        self._evaluate_at = 0.0
        self._reported: list[tuple[int, Mapping[str, float]]] = []
        self._bytes_up = 0
        self.bytes_down = 0
        self.refused: Counter[str] = Counter()
        self.num_updates = 0
        """Updates folded since the beginning."""
        self.accuracy: float | None = None
        """The accuracy of the version that was evaluated last."""
        self.best: Mapping[str, Tensor] | None = None
        """A copy of the best version's tensors; None where nothing was measured."""
        self.early_end: str | None = None
        """Why the run ended before its last round."""

    def open_round(self) -> None:
        """Count from zero."""
        self._reported, self._bytes_up, self.bytes_down = [], 0, 0
        self.refused = Counter()

    def received(self, update: Update, num_bytes: int) -> None:
        """Count an update that was folded."""
        self._reported.append((update.num_examples, update.metrics))
        self._bytes_up += num_bytes
        self.num_updates += 1

    def close_round(
        self,
        run: RunState,
        contributions: list[Contribution],
        *,
        now: float,
        seconds: float,
        is_last: bool,
    ) -> None:
        """Write the record of a round, with an evaluation if one is due."""
        self._history.append(
            {
                "event": "round",
                "time": iso_utc(simulated_time(now)),
                "run": run.run_id,
                "epoch": EPOCH,
                "round": run.version,
                "updates": [contribution.document() for contribution in contributions],
                "refused": dict(self.refused),
            }
        )
        if run.version == 1 or is_last:
            tell_if_unchanged(run, self._say)
        metrics = self._metrics(run, now, is_last=is_last)
        known, is_theirs = finite(metrics), self._evaluate is None
        is_evaluated = bool(metrics) and not is_theirs
        closed = RoundClosed(
            round=run.version,
            version=run.version,
            updates=len(contributions),
            examples=sum(contribution.num_examples for contribution in contributions),
            loss=known.get("loss"),
            accuracy=known.get("accuracy"),
            bytes_down=self.bytes_down,
            bytes_up=self._bytes_up,
            seconds=round(seconds, 6),
            shares=shares_of(contributions),
            metrics=known if is_evaluated or is_theirs else None,
            not_finite=tuple(sorted(metrics.keys() - known.keys())) if is_evaluated else None,
            measured_by=PARTICIPANTS if is_theirs and known else None,
        )
        self._history.append(closed.at(simulated_time(now)).document(whole=True))
        if closed.accuracy is not None:
            self.accuracy = closed.accuracy
        if known:
            self._say(closed)
        self.early_end = None if is_last else self.watch.reason_to_end
        if self.early_end is not None:
            ends = EndsEarly(run.version, self.early_end).at(simulated_time(now))
            self._history.append(ends.document())
            self._say(ends)

    def _metrics(self, run: RunState, now: float, *, is_last: bool) -> Mapping[str, float]:
        if self._evaluate is None:
            return weighted_means(self._reported)
        if not (is_last or self._is_due(run.version, now)):
            return {}
        metrics = self._evaluate(run.version, run.tensors)
        if self.watch.is_best(metrics):
            self.best = {name: tensor.clone() for name, tensor in run.tensors.items()}
        self.watch.take(run.version, metrics)
        return metrics

    def _is_due(self, version: int, now: float) -> bool:
        if self._evaluate_seconds is None:
            return version % self._evaluate_every == 0
        if now < self._evaluate_at:
            return False
        self._evaluate_at = now + self._evaluate_seconds
        return True
