"""A metric over the time of one run or several, as a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fanfold.simulation.plot import DOTS_PER_INCH, INCHES, LONGEST_IN_SECONDS
from fanfold.simulation.settings import HOUR_SECONDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]
"""Seconds since version 0, and the metric at each of them."""


def figure(curves: Mapping[str, Curve], *, title: str, metric: str, clock: str) -> "Figure":
    """Return a figure with one line for each curve, by its label; a notebook shows it.

    Args:
        curves: by label; one alone needs none, "".
        title: above the picture.
        metric: what is measured, as the label of the y-axis.
        clock: which time the seconds are, as the label of the x-axis.
    """
    from fanfold.runs.picture import Picture  # noqa: PLC0415 - matplotlib is an extra, and slow

    longest = max((seconds[-1] for seconds, _ in curves.values() if seconds), default=0.0)
    unit, length = ("s", 1.0) if longest < LONGEST_IN_SECONDS else ("h", HOUR_SECONDS)
    picture = Picture(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = picture.add_subplot()
    for label, (seconds, values) in curves.items():
        axes.plot([each / length for each in seconds], values, label=label, linewidth=1.5)
    axes.set_xlabel(f"{clock} ({unit})")
    axes.set_ylabel(metric)
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    if any(curves):
        axes.legend(frameon=False)
    return picture
