"""What all events have in common, and how one becomes the JSON that programs read."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self

from fanfold.schemas.timestamps import iso_utc


class _ToldField(NamedTuple):
    name: str
    key: str
    is_printed: bool
    may_be_left_out: bool


@dataclass(frozen=True)
class Event:
    """Something that happened.

    A field without a default is always told, and is null where nothing is known. A field whose
    default is None is told only where something is known.
    """

    name: ClassVar[str] = ""
    """What programs know it by: the name of the class in small letters, if nothing else is said."""
    unprinted: ClassVar[frozenset[str]] = frozenset()
    """Fields that `--json` does not print."""
    time: datetime | None = field(default=None, kw_only=True, compare=False)
    """When it was told, UTC; None until whoever shows it puts the time on it."""

    def __init_subclass__(cls, *, name: str | None = None) -> None:
        super().__init_subclass__()
        cls.name = name or re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def at(self, time: datetime) -> Self:
        """Return the same event with the time at which it was told."""
        return replace(self, time=time)

    def document(self, *, whole: bool = False) -> dict[str, Any]:
        """Return its name, its time and its fields as JSON has them.

        Args:
            whole: with the fields that `--json` does not print.
        """
        told: dict[str, Any] = {"event": self.name}
        if self.time is not None:
            told["time"] = iso_utc(self.time)
        for name, key, is_printed, may_be_left_out in self._told_fields():
            value = getattr(self, name)
            if (whole or is_printed) and not (value is None and may_be_left_out):
                told[key] = list(value) if isinstance(value, tuple) else value
        return told

    @classmethod
    @cache  # one entry for each kind of event, whose fields never change
    def _told_fields(cls) -> tuple[_ToldField, ...]:
        """Return the fields but for the time, in their order."""
        return tuple(
            _ToldField(
                name=each.name,
                key=each.name.rstrip("_"),  # `for` is a word of Python
                is_printed=each.name not in cls.unprinted,
                may_be_left_out=each.default is None,
            )
            for each in fields(cls)
            if each.name != "time"
        )

    def json_line(self) -> str:
        """Return what `--json` prints of it, in one line and without its end.

        JSON has no NaN and no infinity: a number that is not finite, such as the loss of a training
        that diverged, is null.
        """
        return json.dumps(_of_finite_numbers(self.document()), allow_nan=False)


def _of_finite_numbers(value: Any) -> Any:
    """Return a document with None for each number that is not finite."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {name: _of_finite_numbers(each) for name, each in value.items()}
        case list() | tuple():
            return [_of_finite_numbers(each) for each in value]
    return value


@dataclass(frozen=True)
class UnknownEvent(Event):
    """An event of another release: passed on as it came."""

    told_as: str
    told: Mapping[str, Any]

    def document(self, *, whole: bool = False) -> dict[str, Any]:  # noqa: ARG002 - it has no other
        """Return what was told."""
        time = {} if self.time is None else {"time": iso_utc(self.time)}
        return {"event": self.told_as, **time, **self.told}


@dataclass(frozen=True)
class InRun(Event):
    """What one of several runs tells that are at work in one process; JSON names it `in_run`."""

    run: str
    told: Event

    def document(self, *, whole: bool = False) -> dict[str, Any]:
        """Return what was told, and of which run."""
        told = self.told.document(whole=whole)
        time = {} if self.time is None else {"time": iso_utc(self.time)}
        return {"event": told.pop("event"), **time, **told, "in_run": self.run}


Say = Callable[[Event], None]
"""Tells people and programs of an event."""
