"""Events of a coordinator's folder: what was removed, damaged or lost there."""

from dataclasses import dataclass

from fanfold.schemas.events.event import Event


@dataclass(frozen=True)
class RunRemoved(Event):
    """What an earlier run left in the folder was removed."""

    folder: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointDamaged(Event):
    """The newest checkpoint cannot be read; the run goes on from the one before."""

    updates_lost: int
    folder: str


@dataclass(frozen=True)
class HistoryLost(Event):
    """The history is damaged; the run goes on with the lines that are left."""

    folder: str
    lines_left: int
    damaged: str
    """The file that keeps the damaged history."""
    reason: str


@dataclass(frozen=True)
class ModelsLost(Event):
    """The latest models of these participants are damaged, and do not count from this round on."""

    participants: tuple[str, ...]
    round: int
    folder: str


@dataclass(frozen=True)
class UploadDamaged(Event):
    """The disk lost chunks of an update that had been acknowledged."""

    participant: str | None
    base_version: int | None
    chunks: int
    """How many."""
    is_asked_again: bool
    """Whether the participant is asked to send it again."""


@dataclass(frozen=True)
class FolderLocked(Event):
    """Another process holds the lock of the folder; the coordinator waits."""

    folder: str
    holder: str
