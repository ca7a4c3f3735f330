"""Metrics whose best value is sought, and values that are good enough.

A metric is written as `NAME:max` (higher is better) or `NAME:min` (lower is better). The direction
may be left out where it is known: `loss` is better when it is lower, `accuracy` when it is higher.
Nothing is guessed for other names.
"""

import math
from dataclasses import dataclass

from fanfold.schemas.errors import InvalidInputError

KNOWN_DIRECTIONS = {"loss": "min", "accuracy": "max"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and its direction."""

    name: str
    higher_is_better: bool

    def __str__(self) -> str:
        return f"{self.name}:{'max' if self.higher_is_better else 'min'}"

    def is_better(self, value: float, than: float | None) -> bool:
        """Return whether a finite value is better than another; any is better than None."""
        if than is None:
            return True
        return value > than if self.higher_is_better else value < than


@dataclass(frozen=True, slots=True)
class Goal:
    """A value with which a metric is good enough."""

    metric: Metric
    value: float
    option: str
    """As the user gave it."""

    def is_reached_by(self, value: float) -> bool:
        """Return whether this value, or any better one, was asked for."""
        return value == self.value or self.metric.is_better(value, self.value)


def parse_metric(text: str) -> Metric:
    """Read a metric, such as `loss` or `auc:max`.

    Raises:
        InvalidInputError: if it has no name, or no direction and none is known.
    """
    name, _, direction = text.rpartition(":")
    if direction not in {"min", "max"}:
        name, direction = text, KNOWN_DIRECTIONS.get(text, "")
    if not name or not direction:
        raise InvalidInputError(
            f"whether {text!r} is better when higher or lower is not known; write NAME:max or "
            "NAME:min, as in auc:max (accuracy and loss need neither)"
        )
    return Metric(name, direction == "max")


def parse_goal(text: str, metric: Metric | None = None) -> Goal:
    """Read a goal, such as `accuracy:0.95` or `auc:max:0.9`.

    Args:
        text: a metric, a colon, and a finite number.
        metric: one whose direction is known, beside those of `parse_metric`.

    Raises:
        InvalidInputError: if it is none.
    """
    option = f"--until {text}"
    name, _, number = text.rpartition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise InvalidInputError(
            f"{option} is no goal; write METRIC:VALUE, as in accuracy:0.95 or auc:max:0.9"
        )
    if metric is not None and name == metric.name:
        return Goal(metric, value, option)
    try:
        return Goal(parse_metric(name), value, option)
    except InvalidInputError as error:
        raise InvalidInputError(f"{option}: {error}") from None
