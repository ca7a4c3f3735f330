"""A status of a federation, as a table for people or as lines."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from fanfold.monitoring.printable import printable
from fanfold.monitoring.status.federation_status import FederationStatus, other_queues
from fanfold.schemas.region_names import region_of

COLUMNS = ("participant", "doing", "version", "step", "ready", "unacknowledged", "device", "heard")


def table(status: FederationStatus, now: float) -> Group:
    """Return a table for a terminal."""
    participants = Table(title=Text(headline(status)), title_justify="left", expand=True)
    for column in COLUMNS:
        participants.add_column(column)
    for row in status.participants(now):
        participants.add_row(*(Text(_cell(column, row)) for column in COLUMNS))
    if status.queues is None:
        return Group(participants, *map(Text, _missing(status)))
    queues = Table(expand=True)
    for column in ("queue", "ready", "unacknowledged", "consumers", "bytes"):
        queues.add_column(column)
    for queue in other_queues(status):
        numbers = (queue.ready, queue.unacknowledged, queue.consumers)
        name = Text(printable(queue.name))
        queues.add_row(name, *map(str, numbers), decimal(queue.num_bytes))
    return Group(participants, queues, *map(Text, _missing(status)))


def lines(status: FederationStatus, now: float) -> Iterator[str]:
    """Yield lines, for output that is no terminal."""
    yield headline(status)
    for row in status.participants(now):
        cells = ((name, _cell(name, row)) for name in COLUMNS[1:])
        shown = ", ".join(f"{name} {text}" for name, text in cells if text != "-")
        yield f"{_cell('participant', row)}: {shown}"
    for queue in other_queues(status):
        yield (
            f"{printable(queue.name)}: {queue.ready} ready, {queue.unacknowledged} unacknowledged, "
            f"{queue.consumers} consumers, {decimal(queue.num_bytes)}"
        )
    yield from _missing(status)


def headline(status: FederationStatus) -> str:
    """Return the federation, its coordinator and its round in one line."""
    words = {True: "coordinator here", False: "no coordinator at work", None: "coordinator unknown"}
    known = [f"federation {status.federation}", words[status.coordinator]]
    if status.round is not None and status.coordinator is False:
        known.append(
            f"run {status.run} stands at version {status.version}: it goes on when its coordinator "
            "is started again"
        )
    elif status.round is not None:
        known.append(f"run {status.run}, round {status.round} on version {status.version}")
    elif status.ended is not None:
        accuracy = "" if status.accuracy is None else f" and accuracy {status.accuracy:.4f}"
        over = f"run {status.run} is over with version {status.version}{accuracy}"
        known.append(f"{over}: {status.ended}")
    if status.epoch is not None:
        known.append(f"epoch {status.epoch}")
    return printable(", ".join(known))


def _missing(status: FederationStatus) -> list[str]:
    return [printable(f"cannot see {problem}") for problem in status.cannot_see]


def _cell(name: str, row: dict[str, Any]) -> str:
    if name == "step":
        return "-" if row["steps"] is None else f"{row['step']}/{row['steps']}"
    if name == "device" and row["participants"] is not None:
        return region_of(row["participants"])
    if name == "heard":
        ago = row["heard_seconds_ago"]
        return "-" if ago is None else f"{ago:g} s ago"
    return "-" if row[name] is None else printable(str(row[name]))
