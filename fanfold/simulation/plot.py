"""A metric over simulated time, updates or rounds, as a picture: a line for each mode.

Of several seeds the line is their mean, and the band around it one standard deviation wide on each
side.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fanfold.schemas.errors import InvalidInputError, how_to_install
from fanfold.simulation.curves import Band, Curve, band_of
from fanfold.simulation.settings import HOUR_SECONDS, Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_IN_SECONDS = 2 * HOUR_SECONDS
INCHES = (8.0, 4.5)
DOTS_PER_INCH = 110


def check_matplotlib() -> None:
    """Check that the plot can be drawn, before hours of simulation.

    Raises:
        InvalidInputError: if there is no matplotlib.
    """
    if find_spec("matplotlib") is None:
        raise InvalidInputError(
            f"the plot needs matplotlib: leave it out with --no-plot, or {how_to_install('plot')}"
        )


def figure(
    groups: Mapping[str, Sequence[Curve]],
    *,
    title: str,
    metric: str,
    axis: Axis,
    clock: str = "simulated time",
) -> "Figure":
    """Return a figure with one line for each group of curves, by its label; a notebook shows it.

    A single group needs no label: "". `clock` says which time it is, where that is the axis.
    """
    from fanfold.simulation.picture import Picture  # noqa: PLC0415 - matplotlib is an extra, and slow

    bands = {label: band_of(curves) for label, curves in groups.items()}
    unit, words = _unit(axis, bands.values(), clock)
    picture = Picture(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = picture.add_subplot()
    for label, band in bands.items():
        at = [place / unit for place in band.at]
        (line,) = axes.plot(at, band.mean, label=label, linewidth=1.5)
        if len(groups[label]) > 1:
            low, high = (
                [mean + side * off for mean, off in zip(band.mean, band.deviation, strict=True)]
                for side in (-1, 1)
            )
            axes.fill_between(at, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel(words)
    axes.set_ylabel(metric)
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    if any(groups):
        axes.legend(frameon=False)
    return picture


def _unit(axis: Axis, bands: Iterable[Band], clock: str) -> tuple[float, str]:
    """Return the length of a unit of the axis, and the axis in words."""
    if axis == "updates":
        return 1.0, "updates"
    if axis == "rounds":
        return 1.0, "rounds (neither equal time nor equal work)"
    longest = max((band.at[-1] for band in bands if band.at), default=0.0)
    if longest < LONGEST_IN_SECONDS:
        return 1.0, f"{clock} (s)"
    return HOUR_SECONDS, f"{clock} (h)"
