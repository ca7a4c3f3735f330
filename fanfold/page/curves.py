"""Metrics of one run, or of several laid over each other, as charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanfold.report.charts import Chart, Points, chart, number
from fanfold.report.page import clock_unit
from fanfold.runs.run_data import RunData

MOST_POINTS = 400
"""Of one line: more than there are pixels for are left out evenly."""
MOST_RUNS = 8
"""Laid over each other: as many as there are colours."""


@dataclass(frozen=True, slots=True)
class Curves:
    """One metric of one or more runs, over the version and over the clock."""

    metric: str
    last: str
    """Its newest value, where there is one run."""
    by_version: Chart
    by_clock: Chart


def curves_of(runs: Mapping[str, RunData]) -> list[Curves]:
    """Return the curves of every metric that any of the runs has; each is named after its run."""
    names = dict.fromkeys(name for data in runs.values() for name in data.metrics)
    measured = {run: data for run, data in runs.items() if data.rounds}
    longest = max((data.elapsed[-1] for data in measured.values()), default=0.0)
    unit, length = clock_unit(longest)
    curves = []
    for name in names:
        versions: dict[str, Points] = {}
        times: dict[str, Points] = {}
        for run, data in measured.items():
            found = data.metrics.get(name, [])
            if found:
                elapsed, few = data.elapsed, thinned(found)
                versions[run] = [(data.rounds[at]["version"], value) for at, value in few]
                times[run] = [(elapsed[at] / length, value) for at, value in few]
        last = [number(points[-1][1]) for points in versions.values()]
        curves.append(
            Curves(
                name,
                last=last[0] if len(last) == 1 else "",
                by_version=chart(versions, x_label="version", x_from=0, x_step=1),
                by_clock=chart(times, x_label=f"{unit} since the start", x_from=0),
            )
        )
    return curves


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most so many points as can be seen, the newest one among them."""
    step = -(-len(points) // MOST_POINTS)
    return [*points[-1::-step]][::-1] if step else []
