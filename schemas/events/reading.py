"""Reads events back from what a service printed."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from keyword import iskeyword
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fanfold.schemas.events import (
    commands,
    coordinator,
    keeper,
    live,
    participant,
    run_folder,
    service,
    shared,
)
from fanfold.schemas.events.event import Event, UnknownEvent

MODULES = (coordinator, run_folder, live, participant, keeper, service, shared, commands)
"""Where the events are."""


def read_event(line: str) -> Event | None:
    """Return the event on a line of `--json`; None if it is none, but what some library printed.

    What another release tells, and we do not know or not so, is an `UnknownEvent`.
    """
    try:
        told = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("event"), str):
        return None
    return event_of(told.pop("event"), told)


def event_of(name: str, told: Mapping[str, Any]) -> Event:
    """Return an event by its name and the fields that `document` made of it."""
    named = {f"{each}_" if iskeyword(each) else each: value for each, value in told.items()}
    for reader in _readers(name) if name in kinds() else ():
        try:
            return reader.validate_python(named)
        except ValidationError:
            continue
    return UnknownEvent(name, {**told}, time=_time_in(told))


@cache
def kinds() -> Mapping[str, tuple[type[Event], ...]]:
    """Return the classes of events by name; two services may tell of the same in other fields."""
    found: dict[str, tuple[type[Event], ...]] = defaultdict(tuple)
    for module in MODULES:
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Event) and each is not Event:
                found[each.name] += (each,)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@cache
def _readers(name: str) -> tuple[TypeAdapter[Event], ...]:
    return tuple(TypeAdapter(kind) for kind in kinds()[name])


def _time_in(told: Mapping[str, Any]) -> datetime | None:
    try:
        return TypeAdapter(datetime).validate_python(told.get("time"))
    except ValidationError:
        return None
