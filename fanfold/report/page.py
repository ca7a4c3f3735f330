"""The report's page: one file without scripts and without any address of another machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fanfold.report.charts import Chart, Points, chart, number
from fanfold.runs.run_data import Participant, RunData
from fanfold.schemas.region_names import region_of

MOST_LINES = 8
"""Participants in one chart: as many as there are colours."""
UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86_400.0))
LONG = 3
"""As many of a unit are shown in it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's curve, over the version and over the clock."""

    title: str
    last: str
    by_version: Chart
    by_clock: Chart


def page(data: RunData, *, is_alive: bool | None) -> str:
    """Return the page as HTML.

    Args:
        data: of the run.
        is_alive: whether a coordinator is at work on it now; None if that is not known.
    """
    environment = Environment(
        loader=PackageLoader("fanfold.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["region"] = region_of
    people = list(data.participants.values())
    return environment.get_template("page.html.jinja").render(
        data=data,
        state=state_of(data, is_alive=is_alive),
        facts=_facts(data),
        figures=_figures(data),
        people=people,
        most_updates=max((each.updates for each in people), default=1),
        most_examples=max((each.examples for each in people), default=1),
        own_metrics=_own_metrics(people),
        is_shortened=len(people) > MOST_LINES,
        staleness=_staleness(people),
        refused=data.refused.most_common(),
        left_out=[each for each in people if each.refused_rounds],
    )


def state_of(data: RunData, *, is_alive: bool | None) -> str:
    """Return how the run stands, in a few words."""
    if data.is_over:
        return "finished"
    if is_alive is None:
        return "not finished"
    return "goes on" if is_alive else "not finished, and no coordinator is at work on it"


def duration(seconds: float) -> str:
    """Return seconds in the unit in which they are a small number."""
    unit, length = clock_unit(seconds)
    return f"{number(float(f'{seconds / length:.3g}'))} {unit}"


def clock_unit(seconds: float) -> tuple[str, float]:
    """Return the unit of an axis that ends after so many seconds, and its length in seconds."""
    return next((each for each in reversed(UNITS) if seconds >= LONG * each[1]), UNITS[0])


def _facts(data: RunData) -> list[tuple[str, str]]:
    """Return what stands in large letters at the top: a value, and what it is."""
    last = data.rounds[-1]
    facts = [
        (f"{last['round']} of {data.settings['rounds']}", "rounds"),
        (number(sum(each["updates"] for each in data.rounds)), "updates that count"),
        (number(data.refused.total()), "refused"),
        (str(len(data.participants)), "participants"),
        (duration(data.elapsed[-1]), "since the start"),
    ]
    mean = " (participants' mean)" if data.measured_by_participants else ""
    measured = [
        (f"{points[-1][1]:.4f}", f"last {name}{mean}") for name, points in data.metrics.items()
    ]
    return measured[:3] + facts


def _figures(data: RunData) -> list[Figure]:
    elapsed = data.elapsed
    unit, length = clock_unit(elapsed[-1])
    figures = []
    for name, measured in data.metrics.items():
        versions = [(data.rounds[index]["version"], value) for index, value in measured]
        times = [(elapsed[index] / length, value) for index, value in measured]
        figures.append(
            Figure(
                title=name,
                last=number(measured[-1][1]),
                by_version=chart({name: versions}, x_label="version", x_from=0, x_step=1),
                by_clock=chart({name: times}, x_label=f"{unit} since the start", x_from=0),
            )
        )
    return figures


def _own_metrics(people: Sequence[Participant]) -> list[tuple[str, Chart]]:
    """Return a chart of each metric that participants measured, a line for each of the largest."""
    largest = sorted(people, key=lambda each: -each.updates)[:MOST_LINES]
    charts = []
    for name in dict.fromkeys(name for each in people for name in each.metrics):
        curves: dict[str, Points] = {
            each.name: sorted(each.metrics[name]) for each in largest if name in each.metrics
        }
        if curves:
            charts.append((name, chart(curves, x_label="version", x_step=1)))
    return charts


def _staleness(people: Sequence[Participant]) -> list[dict[str, Any]]:
    """Return how many updates were how many versions behind."""
    counted: dict[int, int] = {}
    for each in people:
        for behind, updates in each.staleness.items():
            counted[behind] = counted.get(behind, 0) + updates
    most = max(counted.values(), default=1)
    return [
        {"behind": behind, "updates": counted[behind], "percent": 100 * counted[behind] / most}
        for behind in sorted(counted)
    ]
