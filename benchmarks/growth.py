"""A straight line through measurements, and whether what was measured grows."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ERRORS = 3.0
"""A slope is no accident when it is so many of its standard errors above 0."""


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line through values over time."""

    mean: float
    slope: float
    """In the value's unit per minute."""
    error: float
    """Standard error of the slope, likewise, wider where one value resembles the one before it."""
    minutes: float
    """From the first value to the last."""

    @property
    def gain(self) -> float:
        """How much the line rises from the first value to the last."""
        return self.slope * self.minutes

    def verdict(self, tolerance: float) -> str:
        """Return `flat`, `grows`, or `unsure`: too much of a rise, but perhaps an accident."""
        if self.grows(tolerance):
            return "grows"
        return "unsure" if self.gain > tolerance else "flat"

    def grows(self, tolerance: float) -> bool:
        """Whether it rises by more than `tolerance`, in the value's unit, and not by accident."""
        return self.gain > tolerance and self.slope > ERRORS * self.error


def line_through(minutes: Sequence[float], values: Sequence[float]) -> Line:
    """Return the line through three values or more.

    Values that were taken shortly after one another are not independent. So the error is that of
    so many independent ones as their lag-1 autocorrelation r leaves: n (1 - r) / (1 + r).

    Example:
        >>> line_through([0, 1, 2, 3], [5, 7, 9, 11]).slope
        2.0
    """
    count = len(values)
    slope, base = statistics.linear_regression(minutes, values)
    rest = [value - base - slope * minute for minute, value in zip(minutes, values, strict=True)]
    squares = sum(each * each for each in rest)
    spread = sum((minute - statistics.fmean(minutes)) ** 2 for minute in minutes)
    alike = sum(one * other for one, other in pairwise(rest)) / squares if squares else 0.0
    alike = min(max(alike, 0.0), 0.99)
    widened = (1 + alike) / (1 - alike)
    error = math.sqrt(squares / (count - 2) / spread * widened)
    return Line(statistics.fmean(values), slope, error, minutes[-1] - minutes[0])
