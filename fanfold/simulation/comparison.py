"""Compares simulated runs: modes at equal time or equal work, and each over several seeds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from fanfold.coordinator.persistence.records import Record, records_of
from fanfold.coordinator.rounds.metric_goals import parse_metric
from fanfold.schemas.events.commands import Compared, PlotWritten
from fanfold.schemas.events.event import Say
from fanfold.simulation import plot
from fanfold.simulation.curves import Curve, common_end, curve_of, measured, spread_of
from fanfold.simulation.settings import Axis, SimulationSettings

PLACES: dict[Axis, str] = {
    "time": "{:g} simulated seconds",
    "updates": "{:g} updates",
    "rounds": "{:g} rounds, which are neither equal time nor equal work",
}

Groups = Mapping[str, Sequence[Sequence[Record]]]
"""The records of each mode, those of one run for each seed."""


def conclude(
    settings: SimulationSettings,
    histories: Mapping[str, Sequence[Path]],
    wanted_metric: str | None,
    *,
    seconds: float,
    say: Say,
) -> None:
    """Say how several runs compare, and draw them if that is wanted.

    Args:
        settings: of the simulation.
        histories: of each mode, one for each seed.
        wanted_metric: the one of `--metric`.
        seconds: when the first of them ended, of those that no metric ended early.
        say: is told.
    """
    groups = {mode: [list(records_of(path)) for path in paths] for mode, paths in histories.items()}
    metric = metric_of(groups, wanted_metric)
    compared = compare(groups, settings.axis, metric, seconds)
    if compared is not None and settings.num_runs > 1:
        say(compared)
    if settings.plot:
        picture = draw(groups, settings.axis, metric, settings.out, title=_title(settings))
        say(PlotWritten(str(picture)))


def compare(
    groups: Groups, axis: Axis, metric: str, seconds: float | None = None
) -> Compared | None:
    """Compare a metric where all runs have come to; None if not all of them measured it.

    `seconds` is when the first of them ended, if that was after its last round. Runs of one mode
    alone are compared at their ends.
    """
    curves = _curves(groups, axis, metric)
    place = common_end(curve for several in curves.values() for curve in several)
    if axis == "time" and seconds is not None:
        place = seconds if len(groups) > 1 else float("inf")
    rows = []
    for label, several in curves.items():
        values = [curve.value_at(place) for curve in several]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        rows.append({"mode": label, "seeds": len(known), **asdict(spread_of(known))})
    in_words = "their ends" if place == float("inf") else PLACES[axis].format(place)
    return Compared(metric=metric, place=in_words, runs=tuple(rows))


def draw(groups: Groups, axis: Axis, metric: str, folder: Path, *, title: str) -> Path:
    """Draw the runs over the same quantity, and return the file."""
    name = re.sub(r"[^\w.-]", "_", metric)
    picture = folder / f"{name}.png"
    figure = plot.figure(_curves(groups, axis, metric), title=title, metric=metric, axis=axis)
    figure.savefig(picture, format="png")
    return picture


def metric_of(groups: Groups, wanted: str | None) -> str:
    """Return the metric to compare: the one of `--metric`, else accuracy, or loss without."""
    if wanted is not None:
        return parse_metric(wanted).name
    names = {
        name
        for runs in groups.values()
        for records in runs
        for record in records
        if record["event"] == "round_closed"
        for name in measured(record)
    }
    return "accuracy" if "accuracy" in names or "loss" not in names else "loss"


def _curves(groups: Groups, axis: Axis, metric: str) -> dict[str, list[Curve]]:
    return {
        label: [curve_of(records, axis, metric) for records in runs]
        for label, runs in groups.items()
    }


def _title(settings: SimulationSettings) -> str:
    dropout = f", dropout {settings.dropout:g}" if settings.dropout else ""
    seeds = settings.all_seeds or ()
    mean = f"; mean and deviation of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{settings.participants} simulated participants, {settings.speeds}{dropout}{mean}"
