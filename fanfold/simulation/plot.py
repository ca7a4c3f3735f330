"""A metric over simulated time, updates or rounds, as a picture: a line for each mode.

Of several seeds the line is their mean, and the band around it one standard deviation wide on each
side.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation.curves import Band, Curve, band_of
from fanfold.simulation.settings import HOUR_SECONDS, Axis

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
            "the plot needs matplotlib: install it with pip install 'fanfold[plot]', "
            "or leave the plot out with --no-plot"
        )


def draw(
    groups: Mapping[str, Sequence[Curve]], picture: Path, *, title: str, metric: str, axis: Axis
) -> None:
    """Write a PNG with one line for each group of curves, by its label."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    bands = {label: band_of(curves) for label, curves in groups.items()}
    unit, words = _unit(axis, bands.values())
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
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
    axes.legend(frameon=False)
    figure.savefig(picture, format="png")


def _unit(axis: Axis, bands: Iterable[Band]) -> tuple[float, str]:
    """Return the length of a unit of the axis, and the axis in words."""
    if axis == "updates":
        return 1.0, "updates"
    if axis == "rounds":
        return 1.0, "rounds (neither equal time nor equal work)"
    longest = max((band.at[-1] for band in bands if band.at), default=0.0)
    if longest < LONGEST_IN_SECONDS:
        return 1.0, "simulated time (s)"
    return HOUR_SECONDS, "simulated time (h)"
