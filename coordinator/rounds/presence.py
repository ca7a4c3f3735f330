"""Which participants are present, as far as the coordinator knows.

Times are seconds of one monotonic clock, read by the caller.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fanfold.coordinator.rounds.sent_versions import SentVersions
from fanfold.schemas.messages import Hello, Progress

SILENT_SIGNS = 3
"""A participant is silent after missing this many of its progress reports in a row."""
ALIVE_SECONDS = Progress.model_fields["alive_seconds"].default
"""The interval of the reports of a participant that has not reported since the start."""
_AT_WORK = {"training", "uploading"}


@dataclass(slots=True)
class Participant:
    """When something last arrived from a participant, and what it has reported."""

    heard_at: float
    instance: str = ""
    """The start of the participant that reported; empty if it is not known yet."""
    alive_seconds: float = ALIVE_SECONDS
    """The longest time in seconds between two of its reports."""
    at_work_on: tuple[str, int] | None = None
    """Run and version in training; None while it waits, or if it has not reported any."""
    waits_with: int | None = None
    """The newest version it holds, while it waits for a newer one."""

    def said(self, event: Hello | Progress) -> None:
        """Take in an event of this participant."""
        self.instance, self.alive_seconds = event.instance, event.alive_seconds
        self.at_work_on, self.waits_with = None, None
        if isinstance(event, Progress) and event.phase in _AT_WORK:
            self.at_work_on = (event.run, event.version)
        elif isinstance(event, Progress) and event.phase == "waiting":
            self.waits_with = event.version


class Presence:
    """Present is: hello heard, no goodbye, and not silent at the last deadline.

    A participant is silent at a deadline if nothing was received from it since the version was
    published, or since the deadline before, nor during three of its own report intervals. Time in
    which nothing can be received or sent does not count.
    """

    def __init__(self) -> None:
        self._participants: dict[str, Participant] = {}
        self.serials: dict[str, int] = {}
        """Of the newest signed event of each participant, present or not."""
        self.versions = SentVersions()
        """What each was sent, present or not."""

    def is_news(self, participant: str, serial: int) -> bool:
        """Note a signed event; False if it is not newer than the newest one."""
        if serial <= self.serials.get(participant, -1):
            return False
        self.serials[participant] = serial
        return True

    def heard(self, participant: str, now: float) -> Participant:
        """Note a report of a participant; the caller sets its instance."""
        entry = self._participants.setdefault(participant, Participant(heard_at=now))
        entry.heard_at = now
        return entry

    def still_there(self, participant: str | None, now: float) -> None:
        """Note an update, or a part of one, which shows that a present participant is alive.

        It may arrive after its sender's goodbye: it does not make the sender present again.
        """
        if participant in self._participants:
            self._participants[participant].heard_at = now

    def left(self, participant: str, instance: str) -> bool:
        """Note a goodbye; one from an instance that has been replaced since is ignored.

        After a restart of the coordinator the instance is not known until something is heard.
        """
        entry = self._participants.get(participant)
        if entry is None or entry.instance not in (instance, ""):
            return False
        self.drop({participant})
        return True

    def silent(self, now: float, *, since: float) -> set[str]:
        """Return who is silent at a deadline; `since` is the one before, or when it was opened."""
        return {
            name
            for name, entry in self._participants.items()
            if entry.heard_at < min(since, now - SILENT_SIGNS * entry.alive_seconds)
        }

    def drop(self, participants: AbstractSet[str]) -> None:
        """Do not wait for these any more, until they report again."""
        for participant in participants:
            del self._participants[participant]
        self.versions.forget(participants)

    def could_not_speak(self, seconds: float, now: float) -> None:
        """Note that for `seconds` until now nothing could be received, which is no silence."""
        for entry in self._participants.values():
            entry.heard_at = min(now, entry.heard_at + seconds)

    def at_work_on(self, run: str, version: int, *, now: float) -> set[str]:
        """Return who has reported recently that it trains on this version."""
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
        """The ids of all who are present: a live view, not a copy."""
        return self._participants.keys()
