"""Who is there, as far as the coordinator has heard.

Times are seconds of one monotonic clock, read by the caller.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fanfold.schemas.messages import Hello, Progress

SILENT_SIGNS = 3
"""So many signs of life in a row fail to come from one who is silent."""
ALIVE_SECONDS = Progress.model_fields["alive_seconds"].default
"""The longest time between two of them, of one that was not heard since we started."""
_AT_WORK = {"training", "uploading"}


@dataclass(slots=True)
class Participant:
    """When something was heard of one participant, and what it said of itself."""

    heard_at: float
    instance: str = ""
    """Which start of it that was; empty where that is not known yet."""
    alive_seconds: float = ALIVE_SECONDS
    """The longest time between two of its signs of life."""
    at_work_on: tuple[str, int] | None = None
    """Run and version; None while it waits, and where it did not say."""
    waits_with: int | None = None
    """The newest version it holds, while it waits for a newer one."""

    def said(self, event: Hello | Progress) -> None:
        """Take note of what an event says of its sender."""
        self.instance, self.alive_seconds = event.instance, event.alive_seconds
        self.at_work_on, self.waits_with = None, None
        if isinstance(event, Progress) and event.phase in _AT_WORK:
            self.at_work_on = (event.run, event.version)
        elif isinstance(event, Progress) and event.phase == "waiting":
            self.waits_with = event.version


class Presence:
    """Present is: hello heard, no goodbye, and not silent at the last deadline.

    Silent at a deadline is of whom nothing was received since the version was out, or since the
    deadline before, and through three of the intervals that it names itself. Time in which nothing
    can be received, or nobody can send anything, is nobody's silence.
    """

    def __init__(self) -> None:
        self._participants: dict[str, Participant] = {}

    def heard(self, participant: str, now: float) -> Participant:
        """Take note of a sign of life; its caller knows which instance gave it."""
        entry = self._participants.setdefault(participant, Participant(heard_at=now))
        entry.heard_at = now
        return entry

    def still_there(self, participant: str | None, now: float) -> None:
        """Take note of a sign of life that is too little to join: an update, or a part of one.

        It may come after its sender's goodbye: that one stays away.
        """
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

    def silent(self, now: float, *, since: float) -> set[str]:
        """Return who is silent at a deadline; `since` is the one before, or when it was opened."""
        return {
            name
            for name, entry in self._participants.items()
            if entry.heard_at < min(since, now - SILENT_SIGNS * entry.alive_seconds)
        }

    def drop(self, participants: AbstractSet[str]) -> None:
        """Wait for these no longer, until something is heard of them again."""
        for participant in participants:
            del self._participants[participant]

    def could_not_speak(self, seconds: float, now: float) -> None:
        """Take note that so long, until now, nothing could be received: it is nobody's silence."""
        for entry in self._participants.values():
            entry.heard_at = min(now, entry.heard_at + seconds)

    def at_work_on(self, run: str, version: int, *, now: float) -> set[str]:
        """Return who said of late that it works on this version: it holds all of it."""
        return {
            name
            for name, entry in self._participants.items()
            if entry.at_work_on == (run, version)
            and entry.heard_at >= now - SILENT_SIGNS * entry.alive_seconds
        }

    def waiting_below(self, version: int) -> list[str]:
        """Return who waits with an older version than this one."""
        return sorted(
            name
            for name, entry in self._participants.items()
            if entry.waits_with is not None and entry.waits_with < version
        )

    def instance(self, participant: str) -> str | None:
        """Return which start of a participant is present; None if it is not, or not known."""
        entry = self._participants.get(participant)
        return None if entry is None else entry.instance or None

    def __contains__(self, participant: object) -> bool:
        return participant in self._participants

    def __len__(self) -> int:
        return len(self._participants)

    @property
    def names(self) -> AbstractSet[str]:
        """The ids of all who are present: a live view, which costs nothing to ask for."""
        return self._participants.keys()
