"""Accuracy over simulated time, one line per run, as a picture."""

from collections.abc import Mapping
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

from fanfold.coordinator.persistence.history import read_history
from fanfold.schemas.errors import InvalidInputError

HOUR_SECONDS = 3600.0
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


def curve(history: Path) -> tuple[list[float], list[float]]:
    """Return the seconds since the first publication and the accuracies of evaluated versions."""
    closed = [record for record in read_history(history) if record["event"] == "round_closed"]
    times = accumulate(record["seconds"] for record in closed)
    points = [
        (time, record["accuracy"])
        for time, record in zip(times, closed, strict=True)
        if record["accuracy"] is not None
    ]
    return [time for time, _ in points], [accuracy for _, accuracy in points]


def draw(histories: Mapping[str, Path], picture: Path, *, title: str) -> None:
    """Write a PNG with one line for each history, by its label."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    curves = {label: curve(path) for label, path in histories.items()}
    longest = max((times[-1] for times, _ in curves.values() if times), default=0.0)
    unit, seconds = ("s", 1.0) if longest < LONGEST_IN_SECONDS else ("h", HOUR_SECONDS)
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    for label, (times, accuracies) in curves.items():
        axes.plot([time / seconds for time in times], accuracies, label=label, linewidth=1.5)
    axes.set_xlabel(f"simulated time ({unit})")
    axes.set_ylabel("accuracy on held-out data")
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(picture, format="png")
