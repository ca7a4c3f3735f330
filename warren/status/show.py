"""A picture of a federation, as a table for people or as lines."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.table import Table

from warren.status.picture import Picture, other_queues
from warren.view import size

COLUMNS = ("participant", "doing", "version", "step", "ready", "unacknowledged", "device", "heard")


def table(picture: Picture, now: float) -> Group:
    """Return what a terminal shows."""
    participants = Table(title=headline(picture), title_justify="left", expand=True)
    for name in COLUMNS:
        participants.add_column(name)
    for row in picture.participants(now):
        participants.add_row(*(_cell(name, row) for name in COLUMNS))
    if picture.queues is None:
        return Group(participants, *_missing(picture))
    queues = Table(expand=True)
    for name in ("queue", "ready", "unacknowledged", "consumers", "bytes"):
        queues.add_column(name)
    for queue in other_queues(picture):
        numbers = (queue.ready, queue.unacknowledged, queue.consumers)
        queues.add_row(queue.name, *map(str, numbers), size(queue.num_bytes))
    return Group(participants, queues, *_missing(picture))


def lines(picture: Picture, now: float) -> Iterator[str]:
    """Yield what is shown where there is no terminal."""
    yield headline(picture)
    for row in picture.participants(now):
        cells = ((name, _cell(name, row)) for name in COLUMNS[1:])
        shown = ", ".join(f"{name} {text}" for name, text in cells if text != "-")
        yield f"{row['participant']}: {shown}"
    for queue in other_queues(picture):
        yield (
            f"{queue.name}: {queue.ready} ready, {queue.unacknowledged} unacknowledged, "
            f"{queue.consumers} consumers, {size(queue.num_bytes)}"
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
    return ", ".join(known)


def _missing(picture: Picture) -> list[str]:
    return [f"cannot see {problem}" for problem in picture.cannot_see]


def _cell(name: str, row: dict[str, Any]) -> str:
    if name == "step":
        return "-" if row["steps"] is None else f"{row['step']}/{row['steps']}"
    if name == "heard":
        ago = row["heard_seconds_ago"]
        return "-" if ago is None else f"{ago:g} s ago"
    return "-" if row[name] is None else str(row[name])
