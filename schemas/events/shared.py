"""Events that more than one service tells."""

from dataclasses import dataclass

from fanfold.schemas.events.event import Event


@dataclass(frozen=True)
class BrokerAccepts(Event, name="broker"):
    """The broker takes no messages, because it is short of memory or disk, or takes them again."""

    accepts: bool


@dataclass(frozen=True)
class DiskFull(Event):
    """The folder's disk has no room; the service waits until there is some."""

    folder: str
    reason: str | None
    """In the operating system's words."""


@dataclass(frozen=True)
class DiskRefuses(Event):
    """The folder cannot be written to, though there is room; the service waits until it can."""

    folder: str
    reason: str | None
    """In the operating system's words."""


@dataclass(frozen=True)
class MessageRefused(Event):
    """A message could not be read, or is none for this service."""

    reason: str
    sender: str | None = None
    """The login of who sent it; the coordinator knows it."""


@dataclass(frozen=True)
class OptionWithoutEffect(Event):
    """An option was given that does nothing beside the others."""

    option: str
    reason: str


@dataclass(frozen=True)
class EvaluationFailed(Event):
    """The task's evaluation of a version ended with an error; the run goes on."""

    version: int
    reason: str


@dataclass(frozen=True)
class TrainingNote(Event):
    """Something about a training that its owner should know."""

    note: str
