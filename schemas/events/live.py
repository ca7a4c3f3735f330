"""Events that stand in a run folder's `events.jsonl` alone: how an open round goes."""

from dataclasses import dataclass

from fanfold.schemas.events.event import Event


@dataclass(frozen=True)
class RoundOpened(Event):
    """A round begins: its version goes out to participants."""

    round: int
    version: int
    """That participants train on."""
    goal: int
    """Updates that close the round, with those who are present now."""
    quorum: int
    """Fewest updates with which the deadline may close it."""
    deadline_seconds: float
    """After the version is out."""
    participants: tuple[str, ...] | None = None
    """Who gets the version; told where these are others than in the round before."""


@dataclass(frozen=True)
class UpdateCounted(Event):
    """An update counts in the open round."""

    participant: str
    base_version: int
    staleness: int
    examples: int
    updates: int | None = None
    """Of a region: of how many participants' updates it is the sum."""


@dataclass(frozen=True)
class ParticipantProgress(Event):
    """A participant has said what it does."""

    participant: str
    version: int
    phase: str
    """`downloading`, `training`, `uploading` or `waiting`."""
    step: int
    steps: int
    """0 where it is not known."""
    participants: int | None = None
    """Of a region: how many are present in its own federation."""


@dataclass(frozen=True)
class EventsLost(Event):
    """The disk took no lines for a while."""

    events: int
