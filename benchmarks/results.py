"""Results as a table for people and as JSON for machines."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "results"


@dataclass(slots=True)
class Row:
    """One comparison: our value beside a floor, a peer, or both, measured in the same run."""

    case: str
    ours: float
    unit: str
    floor: float | None = None
    """The least that is possible, or the value of the simplest way to do the same."""
    peer: float | None = None
    """The value of another system."""
    limit: str = ""
    """The bound that is promised, as text."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def to_floor(self) -> float | None:
        """Our value divided by the floor."""
        return self.ours / self.floor if self.floor else None

    @property
    def to_ours(self) -> float | None:
        """The peer's value divided by ours: how many times faster, or smaller, we are."""
        return self.peer / self.ours if self.peer else None


def report(target: str, rows: Sequence[Row], *, title: str) -> None:
    """Print the table and write `results/TARGET.json`."""
    table = Table(title=title)
    for column in ("case", "ours", "floor", "ours/floor", "peer", "peer/ours", "unit", "promised"):
        right = column not in ("case", "unit", "promised")
        table.add_column(column, justify="right" if right else "left")
    for row in rows:
        table.add_row(
            row.case,
            number(row.ours),
            number(row.floor),
            ratio(row.to_floor),
            number(row.peer),
            ratio(row.to_ours),
            row.unit,
            row.limit,
        )
    Console(width=None if os.isatty(1) else 140).print(table)
    FOLDER.mkdir(exist_ok=True)
    document = [
        {**asdict(row), "ours_to_floor": row.to_floor, "peer_to_ours": row.to_ours} for row in rows
    ]
    (FOLDER / f"{target}.json").write_text(json.dumps(document, indent=1) + "\n")


def quartiles(values: Sequence[float]) -> dict[str, Any]:
    """Return the quartiles of a sample, and its size."""
    if len(values) == 1:
        return {"quartiles": [*values] * 3, "samples": 1}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"quartiles": [low, median, high], "samples": len(values)}


def machine() -> str:
    """Return one line about the machine that measures."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {processor()}, load before: {load:.2f}"


def processor() -> str:
    """Return the processor's name, or its architecture where the system does not tell more."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def number(value: float | None) -> str:
    """Return a value with four significant digits; an empty text for None."""
    return "" if value is None else f"{value:.4g}"


def ratio(value: float | None) -> str:
    """Return a factor as text; an empty one for None."""
    return "" if value is None else f"{value:.2f}x"
