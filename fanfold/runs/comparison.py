"""Several runs side by side."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fanfold.runs import plot
from fanfold.runs.run import Run
from fanfold.simulation.plot import check_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison(Mapping[str, Run]):
    """Runs by label, such as the mode of each, in the order in which they ran."""

    def __init__(self, runs: Mapping[str, Run], *, title: str) -> None:
        self._runs = dict(runs)
        self._title = title

    def __getitem__(self, label: str) -> Run:
        return self._runs[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return "\n".join(f"{label}: {run!r}" for label, run in self._runs.items())

    def plot(self, metric: str = "accuracy") -> "Figure":
        """Draw a metric over simulated time, one line for each run; a notebook shows the figure.

        Raises:
            InvalidInputError: if there is no matplotlib.
        """
        check_matplotlib()
        return plot.figure(
            {label: run.history.curve(metric) for label, run in self._runs.items()},
            title=self._title,
            metric=f"{metric} on held-out data",
            clock="simulated time",
        )
