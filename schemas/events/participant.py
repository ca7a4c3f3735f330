"""Events that a participant tells."""

from dataclasses import dataclass

from fanfold.schemas.events.event import Event

# -- its work


@dataclass(frozen=True)
class VersionReceived(Event):
    """A version is here, and the training on it begins."""

    run: str
    version: int
    bytes: int
    seconds: float
    """Seconds from its first chunk to its last."""


@dataclass(frozen=True)
class DifferenceNotApplied(Event):
    """A version came as a difference that cannot be applied; the whole version is asked for."""

    run: str
    version: int
    reason: str


@dataclass(frozen=True)
class UpdateSent(Event):
    """The broker has confirmed the update of a version."""

    run: str
    version: int
    bytes: int
    loss: float | None = None
    """Mean training loss of the last pass; left out where a kept update was sent again."""
    seconds: float | None = None
    """Seconds of training; left out where a kept update was sent again."""
    epsilon: float | None = None
    """What DP-SGD has spent."""
    delta: float | None = None


@dataclass(frozen=True)
class OwnUpdateRefused(Event, name="update_refused"):
    """The coordinator did not count an update of this participant."""

    version: int
    """The update's base version."""
    reason: str


@dataclass(frozen=True)
class RunOver(Event):
    """The run is over."""

    run: str
    version: int
    reason: str | None = None
    """Why it ended before its last round."""
    accuracy: float | None = None
    """Of that version, as the coordinator measured it."""


@dataclass(frozen=True)
class FinalModelKept(Event):
    """The last model of a run is in the state folder."""

    run: str
    version: int
    model: str
    """The file."""


@dataclass(frozen=True)
class FinalModelIgnored(Event):
    """The last model of a run was sent, and there is no state folder to keep it in."""

    run: str
    version: int


@dataclass(frozen=True)
class Leaving(Event):
    """The participant takes no further version."""

    reason: str


# -- the runs of a resident coordinator


@dataclass(frozen=True)
class RunServed(Event):
    """An allowed run is open, and the participant takes part in it from now on."""

    run: str
    task: str


@dataclass(frozen=True)
class OwnRunDeclined(Event, name="run_declined"):
    """The participant takes no part in a run; the resident coordinator is told the same."""

    run: str
    task: str
    reason: str


@dataclass(frozen=True)
class RunLeft(Event):
    """The participant takes no part in a run any more, and is ready for others."""

    run: str


# -- what it waits for


@dataclass(frozen=True)
class WaitingForRuns(Event):
    """No run is open that the participant allows."""

    federation: str
    declined: int
    """Runs that are open, and declined."""


@dataclass(frozen=True)
class WaitingForCoordinator(Event):
    """There is no coordinator of the federation yet."""

    federation: str


@dataclass(frozen=True)
class QueueDown(Event):
    """The broker node with the participant's queue is down."""

    participant: str


@dataclass(frozen=True)
class IdTaken(Event):
    """Another instance takes part under the same id."""

    participant: str


@dataclass(frozen=True)
class WaitingForSlot(Event):
    """All slots are taken."""

    slots: int


@dataclass(frozen=True)
class SlotClaimed(Event):
    """The participant has a slot: its id, and its share of the data."""

    participant: str
    slots: int


@dataclass(frozen=True)
class StateDirTaken(Event):
    """Another process uses the state folder."""

    folder: str


# -- what is older than expected


@dataclass(frozen=True)
class StateIsOlder(Event):
    """The state folder is not of the version before this one; it may come from a backup."""

    version: int
    """Of the state folder."""
    newest: int
    """Version that is here."""
    file: str
    """The file to remove if it does come from a backup."""


@dataclass(frozen=True)
class VersionIgnored(Event):
    """A version is dropped, because a newer one, or another one of that number, is held."""

    run: str
    version: int
    epoch: int
    held_version: int
    held_epoch: int


@dataclass(frozen=True)
class VersionOfOlderEpoch(Event):
    """A version is dropped, because a later coordinator was here before its sender."""

    run: str
    version: int
    epoch: int
    newest_epoch: int
