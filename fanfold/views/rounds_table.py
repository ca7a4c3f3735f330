"""The rounds of a run as a table that fits a terminal: the newest rows, one line each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from fanfold.monitoring.printable import printable
from fanfold.schemas.events.coordinator import RoundClosed
from fanfold.views.sentences import PRIVACY, shown

FRAME_LINES = 4
"""Of the table beside its rows: two borders, the header and the line under it."""
FIRST_TO_GO = ("bytes_down", "bytes_up", "version", "examples", "seconds", *reversed(PRIVACY))
"""Columns that a narrow terminal leaves out, in this order; after them what the task measured."""
KEPT = ("round", "updates", "loss", "accuracy")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is shown, and how wide that is."""

    name: str
    title: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """Characters with a blank on either side and the line to the left."""
        return max(map(cell_len, (self.title, *self.cells))) + 3


def rounds_table(rounds: Sequence[RoundClosed], *, width: int, height: int) -> Table:
    """Return a table of the newest rounds in so many characters and lines; one round at least."""
    rows = rounds[-max(1, height - FRAME_LINES) :]
    table = Table(expand=True, box=box.HEAVY_HEAD)
    columns = fitting(columns_of(rows), width)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        style = "bold red" if row.left_out else ""
        table.add_row(*(Text(column.cells[number]) for column in columns), style=style)
    return table


def columns_of(rows: Sequence[RoundClosed]) -> list[Column]:
    """Return all columns that have something to show, in their order."""
    return [
        Column(name, title, tuple(map(cell, rows)))
        for name, title, cell in _every_column(rows)
        if not _is_empty(name, rows)
    ]


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Leave out columns, the least important first, until the others fit."""
    left = list(columns)
    measured = [each.name for each in columns if each.name not in (*FIRST_TO_GO, *KEPT)]
    for name in (*FIRST_TO_GO, *reversed(measured)):
        if 1 + sum(column.width for column in left) <= width:
            break
        left = [column for column in left if column.name != name]
    return left


def _every_column(
    rows: Sequence[RoundClosed],
) -> Iterator[tuple[str, str, Callable[[RoundClosed], str]]]:
    """Yield name, title and what a row has there."""
    for name in ("round", "version"):
        yield name, name, _field(name)
    yield "updates", "updates", _updates
    for name in ("examples", "loss", "accuracy"):
        yield name, _title(name, rows), _field(name)
    for name in dict.fromkeys(name for row in rows for name in row.metrics or {}):
        if name not in ("loss", "accuracy"):
            yield f"metrics.{name}", printable(name), _metric(name)
    for name in PRIVACY:
        yield name, name.replace("_", " "), _field(name)
    yield "bytes_down", "down", _field("bytes_down")
    yield "bytes_up", "up", _field("bytes_up")
    yield "seconds", "seconds", _field("seconds")


def _title(name: str, rows: Sequence[RoundClosed]) -> str:
    """Return a column's title; one says so if participants measured, each on its own data."""
    theirs = any(row.measured_by == "participants" for row in rows)
    labelled = "loss" if _is_empty("accuracy", rows) else "accuracy"
    return f"participants' mean {name}" if theirs and name == labelled else name


def _is_empty(name: str, rows: Sequence[RoundClosed]) -> bool:
    """Whether no row has anything there, and none will: what is measured is known from a metric."""
    if name in PRIVACY:
        return all(getattr(row, name) is None for row in rows)
    if name in ("loss", "accuracy"):
        return any(row.metrics for row in rows) and all(getattr(row, name) is None for row in rows)
    return False


def _field(name: str) -> Callable[[RoundClosed], str]:
    return lambda row: shown(name, getattr(row, name))


def _metric(name: str) -> Callable[[RoundClosed], str]:
    def cell(row: RoundClosed) -> str:
        measured: Mapping[str, float] = row.metrics or {}
        return f"{measured[name]:.4f}" if name in measured else "-"

    return cell


def _updates(row: RoundClosed) -> str:
    """Return how many updates count, of how many where some were left out, and those in sums."""
    left_out = len(row.left_out or ())
    shown = f"{row.updates} of {row.updates + left_out}" if left_out else str(row.updates)
    return shown if row.single_updates is None else f"{shown} ({row.single_updates})"
