"""A picture of a federation, as a table for people or as lines."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from fanfold.cli.printable import printable
from fanfold.monitoring.status.picture import Picture, other_queues

COLUMNS = ("participant", "doing", "version", "step", "ready", "unacknowledged", "device", "heard")


def table(picture: Picture, now: float) -> Group:
    """Return what a terminal shows."""
    participants = Table(title=Text(headline(picture)), title_justify="left", expand=True)
    for column in COLUMNS:
        participants.add_column(column)
    for row in picture.participants(now):
        participants.add_row(*(Text(_cell(column, row)) for column in COLUMNS))
    if picture.queues is None:
        return Group(participants, *map(Text, _missing(picture)))
    queues = Table(expand=True)
    for column in ("queue", "ready", "unacknowledged", "consumers", "bytes"):
        queues.add_column(column)
    for queue in other_queues(picture):
        numbers = (queue.ready, queue.unacknowledged, queue.consumers)
        name = Text(printable(queue.name))
        queues.add_row(name, *map(str, numbers), decimal(queue.num_bytes))
    return Group(participants, queues, *map(Text, _missing(picture)))


def lines(picture: Picture, now: float) -> Iterator[str]:
    """Yield what is shown where there is no terminal."""
    yield headline(picture)
    for row in picture.participants(now):
        cells = ((name, _cell(name, row)) for name in COLUMNS[1:])
        shown = ", ".join(f"{name} {text}" for name, text in cells if text != "-")
        yield f"{_cell('participant', row)}: {shown}"
    for queue in other_queues(picture):
        yield (
            f"{printable(queue.name)}: {queue.ready} ready, {queue.unacknowledged} unacknowledged, "
            f"{queue.consumers} consumers, {decimal(queue.num_bytes)}"
        )
    yield from _missing(picture)


def headline(picture: Picture) -> str:
    """Return the federation, its coordinator and its round in one line."""
    words = {True: "coordinator here", False: "no coordinator", None: "coordinator unknown"}
    known = [f"federation {picture.federation}", words[picture.coordinator]]
    if picture.round is not None:
        known.append(f"run {picture.run}, round {picture.round} on version {picture.version}")
    if picture.epoch is not None:
        known.append(f"epoch {picture.epoch}")
    return printable(", ".join(known))


def _missing(picture: Picture) -> list[str]:
    return [printable(f"cannot see {problem}") for problem in picture.cannot_see]


def _cell(name: str, row: dict[str, Any]) -> str:
    if name == "step":
        return "-" if row["steps"] is None else f"{row['step']}/{row['steps']}"
    if name == "heard":
        ago = row["heard_seconds_ago"]
        return "-" if ago is None else f"{ago:g} s ago"
    return "-" if row[name] is None else printable(str(row[name]))
