"""Events about the keepers of masks, from themselves and from their coordinator."""

from dataclasses import dataclass

from fanfold.schemas.events.event import Event


@dataclass(frozen=True)
class KeeperStarted(Event):
    """A keeper begins or goes on."""

    federation: str
    keeper: str
    """Its fingerprint, by which its queue is called."""
    masks_at_least: int
    members: int
    """On its roster."""


@dataclass(frozen=True)
class SetAnswered(Event):
    """A keeper approved a set of updates, or told the sum of its masks."""

    run: str
    version: int
    """That the round began with."""
    updates: int
    masks_told: bool
    """False where it approved the set only."""


@dataclass(frozen=True)
class SetRefused(Event):
    """A keeper told nothing of a set, and wrote down why."""

    run: str
    version: int
    updates: int
    reason: str


@dataclass(frozen=True)
class WaitingForKeepers(Event):
    """A masked round cannot be read before more keepers of its masks answer."""

    round: int
    silent: tuple[str, ...]
    """Fingerprints of the keepers that do not answer."""
    needed: int
    """How many have to."""
