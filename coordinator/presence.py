"""Who is there, as far as the coordinator has heard.

Times are seconds of one monotonic clock, read by the caller.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(slots=True)
class Participant:
    """When something was heard of one participant, and which start of it that was."""

    heard_at: float
    instance: str = ""


class Presence:
    """Present is: hello heard, no goodbye, and not silent through the last deadline."""

    def __init__(self) -> None:
        self._participants: dict[str, Participant] = {}

    def heard(self, participant: str, now: float) -> Participant:
        """Take note of a sign of life; its caller knows which instance gave it."""
        entry = self._participants.setdefault(participant, Participant(heard_at=now))
        entry.heard_at = now
        return entry

    def answered(self, participant: str, now: float) -> None:
        """Take note of an update. It may come after its sender's goodbye: that one stays away."""
        self.still_there(participant, now)

    def still_there(self, participant: str | None, now: float) -> None:
        """Take note of a sign of life that is too little to join: a part of an upload."""
        if participant in self._participants:
            self._participants[participant].heard_at = now

    def left(self, participant: str, instance: str) -> bool:
        """Take note of a goodbye; one from an instance that has been replaced since is ignored.

        After a restart of the coordinator the instance is not known until something is heard.
        """
        entry = self._participants.get(participant)
        if entry is None or entry.instance not in (instance, ""):
            return False
        del self._participants[participant]
        return True

    def drop_silent_since(self, time: float, *, but: AbstractSet[str] = frozenset()) -> set[str]:
        """Drop and return everybody of whom nothing was heard since `time`, but for some."""
        silent = self._participants.keys() - self.heard_since(time) - but
        for name in silent:
            del self._participants[name]
        return silent

    def heard_since(self, time: float) -> set[str]:
        """Return everybody of whom something was heard since `time`."""
        return {name for name, entry in self._participants.items() if entry.heard_at >= time}

    def __contains__(self, participant: object) -> bool:
        return participant in self._participants

    def __len__(self) -> int:
        return len(self._participants)

    @property
    def names(self) -> AbstractSet[str]:
        """The ids of all who are present: a live view, which costs nothing to ask for."""
        return self._participants.keys()
