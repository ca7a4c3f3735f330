"""Charts as plain values: where lines, ticks and labels stand, in percent of the plot.

The page draws lines as SVG that is stretched to the width of the screen, and labels as text beside
it, so that they keep their size on a telephone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
MOST_DOTS = 40
"""Points that are shown as dots, too; more of them would only be a thick line."""
NEAR_ZERO = 1e-12
STEPS = 5
"""Of an axis, about."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid, and its label."""

    at: float
    """Percent from the left, or from the top."""
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point, and what is said of it."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    path: str
    """As an SVG path has it."""
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over one axis."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str


def chart(
    curves: dict[str, Points], *, x_label: str, x_from: float | None = None, x_step: float = 0.0
) -> Chart:
    """Return a chart of curves by name; each has one point at least.

    Args:
        curves: points (x, y), x never falling.
        x_label: what the horizontal axis is.
        x_from: where it begins; by default at the smallest x.
        x_step: 1 if x are whole numbers.
    """
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    left, right = _widened(min(xs) if x_from is None else x_from, max(xs))
    low, high = _widened(min(ys), max(ys))
    marks = ticks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])

    def x_of(value: float) -> float:
        return round(100 * (value - left) / (right - left), 3)

    def y_of(value: float) -> float:
        return round(100 * (high - value) / (high - low), 3)

    lines = []
    for name, points in curves.items():
        path = "M" + "L".join(f"{x_of(x)} {y_of(y)}" for x, y in points)
        shown = points if len(points) <= MOST_DOTS else points[-1:]
        dots = tuple(Dot(x_of(x), y_of(y), f"{name}: {number(y)} at {number(x)}") for x, y in shown)
        lines.append(Line(name, path, dots))
    return Chart(
        lines=tuple(lines),
        x_ticks=tuple(
            Tick(x_of(each), number(each))
            for each in ticks(left, right, inside=True, least_step=x_step)
        ),
        y_ticks=tuple(Tick(y_of(each), number(each)) for each in marks),
        x_label=x_label,
    )


def ticks(low: float, high: float, *, inside: bool = False, least_step: float = 0.0) -> list[float]:
    """Return round numbers that divide a range: steps of 1, 2 or 5 times a power of ten.

    Args:
        low: where the range begins.
        high: where it ends.
        inside: whether all are inside the range; otherwise they enclose it.
        least_step: 1 for an axis of whole numbers.
    """
    rough = max((high - low) / STEPS, least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    first = math.ceil(low / step - NEAR_ZERO) if inside else math.floor(low / step + NEAR_ZERO)
    last = math.floor(high / step + NEAR_ZERO) if inside else math.ceil(high / step - NEAR_ZERO)
    return [round(each * step, 12) for each in range(first, last + 1)]


def number(value: float) -> str:
    """Return a number as people read it, with four digits that count."""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.4g}"


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range that is not empty."""
    if high - low > NEAR_ZERO * max(1.0, abs(high)):
        return low, high
    room = abs(high) / 2 or 1.0
    return low - room, high + room
