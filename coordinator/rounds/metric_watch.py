"""Which evaluated version is the best so far, and whether the run has a reason to end early.

Plain state that follows from the evaluations in their order: the service and the simulator both
stand on it. What it remembers does not depend on the options, so that a run that is resumed with
another `--patience` or `--until` is judged by everything that was measured before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanfold.coordinator.rounds.metric_goals import Goal, Metric, parse_metric
from fanfold.schemas.errors import InvalidInputError


@dataclass(slots=True)
class MetricWatch:
    """The best value of the metric that counts, and what every metric has reached.

    `metric` is the one that counts; None takes accuracy, or loss where there is no accuracy.
    `patience` is how many evaluations in a row may pass without a better value; None: any number.
    """

    metric: Metric | None = None
    patience: int | None = None
    goals: Sequence[Goal] = ()
    best: float | None = None
    best_version: int | None = None
    _last_version: int = -1
    _since_best: int = 0
    _longest_wait: int = 0
    """The most evaluations in a row without a better value; like the ranges, it only grows."""
    _ranges: dict[str, list[float]] = field(default_factory=dict)
    """The smallest and the largest finite value of each metric."""

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a version with these metrics is the best so far.

        Raises:
            InvalidInputError: if an option names a metric that was never measured, and is not
                among these; or if there is none by which `patience` could go.
        """
        if not metrics:  # there was no evaluation
            return False
        self._check_names(metrics)
        metric = self.metric or _usual(metrics)
        value = None if metric is None else metrics.get(metric.name)
        if metric is None or value is None or not math.isfinite(value):
            return False
        return metric.is_better(value, self.best)

    def take(self, version: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a version; one that was taken before counts once.

        Raises:
            InvalidInputError: as in `is_best`.
        """
        if version <= self._last_version or not metrics:
            return
        is_best = self.is_best(metrics)
        self.metric = self.metric or _usual(metrics)
        self._last_version = version
        if self.metric is not None and is_best:
            self.best, self.best_version = metrics[self.metric.name], version
            self._since_best = 0
        else:
            self._since_best += 1
            self._longest_wait = max(self._longest_wait, self._since_best)
        for name, value in metrics.items():
            if math.isfinite(value):
                low, high = self._ranges.get(name, (value, value))
                self._ranges[name] = [min(low, value), max(high, value)]

    @property
    def reason_to_end(self) -> str | None:
        """Why the run should end now, in words; None if it should go on."""
        for goal in self.goals:
            if (reached := self._ranges.get(goal.metric.name)) is not None:
                value = reached[1] if goal.metric.higher_is_better else reached[0]
                if goal.is_reached_by(value):
                    return f"{goal.metric.name} reached {value:.6g} ({goal.option})"
        if self.metric is None or self.patience is None or self._longest_wait < self.patience:
            return None
        best = "was never finite"
        if self.best is not None:
            best = f"is {self.best:.6g}, of version {self.best_version}"
        return (
            f"{self.metric.name} was no better in {self.patience} evaluations in a row "
            f"(--patience {self.patience}); its best {best}"
        )

    def state(self) -> dict[str, Any]:
        """Return everything for the checkpoint."""
        return {
            "metric": None if self.metric is None else str(self.metric),
            "best": self.best,
            "best_version": self.best_version,
            "last_version": self._last_version,
            "since_best": self._since_best,
            "longest_wait": self._longest_wait,
            "ranges": self._ranges,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; of another metric the best is sought anew."""
        self._last_version, self._ranges = state["last_version"], dict(state["ranges"])
        metric = None if state["metric"] is None else parse_metric(state["metric"])
        if self.metric is None or self.metric == metric:
            self.metric = metric
            self.best, self.best_version = state["best"], state["best_version"]
            self._since_best, self._longest_wait = state["since_best"], state["longest_wait"]

    def _check_names(self, metrics: Mapping[str, float]) -> None:
        wanted = {goal.metric.name: goal.option for goal in self.goals}
        if self.metric is not None:
            wanted[self.metric.name] = f"--metric {self.metric}"
        missing = next(iter(wanted.keys() - metrics.keys() - self._ranges.keys()), None)
        if missing is not None:
            raise InvalidInputError(
                f"{wanted[missing]}: an evaluation of this task measures "
                f"{', '.join(sorted(metrics))}, and no {missing}"
            )
        if self.patience is not None and self.metric is None and _usual(metrics) is None:
            raise InvalidInputError(
                f"--patience {self.patience} goes by no metric: this task measures neither "
                "accuracy nor loss; name another one with --metric"
            )


def _usual(metrics: Mapping[str, float]) -> Metric | None:
    name = next((each for each in ("accuracy", "loss") if each in metrics), None)
    return None if name is None else parse_metric(name)
