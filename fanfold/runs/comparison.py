"""Several runs side by side."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.run import Run
from fanfold.simulation import plot
from fanfold.simulation.curves import Curve, curve_of
from fanfold.simulation.settings import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison(Mapping[str, Run]):
    """Simulated runs by name, such as "sync" or, of several seeds, "sync/seed-0".

    Args:
        runs: by name, in the order in which they ran.
        axis: in what they can be compared.
    """

    def __init__(self, runs: Mapping[str, Run], *, axis: Axis) -> None:
        self._runs = dict(runs)
        self._axis = axis

    def __getitem__(self, name: str) -> Run:
        return self._runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {run!r}" for name, run in self._runs.items())

    def plot(self, metric: str = "accuracy") -> "Figure":
        """Draw a metric, one line for each mode: the mean of its seeds, in a band of a deviation.

        A notebook shows the figure.

        Raises:
            InvalidInputError: if there is no matplotlib.
        """
        plot.check_matplotlib()
        groups: dict[str, list[Curve]] = {}
        for name, run in self._runs.items():
            curve = curve_of(records_of(run.folder / HISTORY), self._axis, metric)
            groups.setdefault(name.partition("/")[0], []).append(curve)
        return plot.figure(groups, title=metric, metric=metric, axis=self._axis)
