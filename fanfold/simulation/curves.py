"""What runs measured, over a quantity in which they can be compared, and their means over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from fanfold.simulation.settings import Axis


@dataclass(frozen=True, slots=True)
class Curve:
    """The values that a run's evaluations gave, over seconds, updates or rounds."""

    at: Sequence[float]
    values: Sequence[float]
    end: float
    """Where the run ended; infinite if a metric ended it: then its last value stays."""

    def value_at(self, place: float) -> float | None:
        """Return the last value that was measured up to there; None if there is none."""
        known = [value for at, value in zip(self.at, self.values, strict=True) if at <= place]
        return known[-1] if known else None


@dataclass(frozen=True, slots=True)
class Band:
    """The mean of several curves where all of them are, and their standard deviation around it."""

    at: Sequence[float]
    mean: Sequence[float]
    deviation: Sequence[float]


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of several seeds; the deviation is that of a sample, and 0 for a single one."""

    mean: float
    deviation: float
    lowest: float
    highest: float


def curve_of(records: Iterable[Mapping[str, Any]], axis: Axis, metric: str) -> Curve:
    """Return the curve of a metric in a history's records; it is empty if nothing was measured."""
    place, ends_early = 0.0, False
    at, values = [], []
    for record in records:
        ends_early |= record["event"] == "ends_early"
        if record["event"] != "round_closed":
            continue
        step = {"time": record["seconds"], "updates": record["updates"], "rounds": 1}
        place += step[axis]
        value = measured(record).get(metric)
        if value is not None:
            at.append(place)
            values.append(value)
    return Curve(at, values, end=float("inf") if ends_early else place)


def measured(closed: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a closed round's version, as far as they are known."""
    usual = {name: closed[name] for name in ("loss", "accuracy") if closed[name] is not None}
    return usual | (closed.get("metrics") or {})


def band_of(curves: Sequence[Curve]) -> Band:
    """Return mean and deviation wherever every curve is known; between two values it is a line."""
    if not curves or not all(curve.at for curve in curves):
        return Band([], [], [])
    first, last = max(curve.at[0] for curve in curves), min(curve.at[-1] for curve in curves)
    at = sorted({place for curve in curves for place in curve.at if first <= place <= last})
    rows = np.array([np.interp(at, curve.at, curve.values) for curve in curves])
    deviation = rows.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(at))
    return Band(at, rows.mean(axis=0).tolist(), deviation.tolist())


def common_end(curves: Iterable[Curve]) -> float:
    """Return the place up to which all runs went; infinite if every one was ended by a metric."""
    return min((curve.end for curve in curves), default=0.0)


def spread_of(values: Sequence[float]) -> Spread:
    """Return mean and spread of at least one value."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return Spread(fmean(values), deviation, min(values), max(values))
