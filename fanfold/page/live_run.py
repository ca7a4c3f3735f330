"""How a run goes, from the events that its coordinator tells: plain state, no file and no clock."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from fanfold.page.lanes import PHASES, Lane, Span
from fanfold.schemas.events.coordinator import (
    AllRefused,
    EndsEarly,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantOutOfReach,
    ParticipantRefused,
    ParticipantSilent,
    ParticipantsLeftOut,
    RoundClosed,
    RunFinished,
    RunStarted,
    Stopping,
    UpdateRefused,
    Waiting,
)
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.live import (
    EventsLost,
    ParticipantProgress,
    RoundOpened,
    UpdateCounted,
)
from fanfold.schemas.events.shared import BrokerAccepts, DiskFull, DiskRefuses
from fanfold.views.sentences import sentence

MOST_NOTES = 200
NOT_NOTED = (RoundClosed, RoundOpened, UpdateCounted, ParticipantProgress, EventsLost)
"""What is seen elsewhere on the page."""
BAD = (
    *(AllRefused, ParticipantOutOfReach, ParticipantRefused, ParticipantSilent),
    *(ParticipantsLeftOut, UpdateRefused, DiskFull, DiskRefuses),
)


@dataclass(slots=True)
class Person:
    """One participant, as far as events tell."""

    name: str
    lane: Lane = field(default_factory=Lane)
    step: int = 0
    steps: int = 0
    """0 where it is not known."""
    updates: int = 0
    staleness: int | None = None
    """Of its newest update."""
    device: str = ""
    participants: int | None = None
    """Of a region: those whose updates its newest sum holds, or who were present since."""
    trouble: str = ""
    """Why it is away, or why its last update did not count; empty if all is well."""
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=9))
    """How long its last updates took, from the version to the update."""
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was told, in words."""

    serial: int
    time: float
    text: str
    is_bad: bool


@dataclass(slots=True)
class LiveRun:
    """A run as its coordinator tells it. Times are seconds since 1970."""

    people: dict[str, Person] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    """Who gets the open round's version."""
    round: RoundOpened | None = None
    """The open one; None before the first and after the last."""
    opened_at: float = 0.0
    counted: dict[str, int] = field(default_factory=dict)
    """Updates in the open round by participant."""
    refused: set[str] = field(default_factory=set)
    """Whose update on the open round's version was refused."""
    waiting_for: str = ""
    """What the coordinator cannot go on without; empty if it goes on."""
    end: Event | None = None
    """`run_finished`, `ends_early` or `stopping`, since the newest start."""
    heard_at: float = 0.0
    notes: deque[Note] = field(default_factory=lambda: deque(maxlen=MOST_NOTES))
    change: int = 0
    """Counts what changed."""
    _noted: int = 0

    def take(self, event: Event) -> None:
        """Take the next event, which carries its time."""
        if event.time is None:
            return
        at = event.time.timestamp()
        self.change += 1
        self.heard_at = max(self.heard_at, at)
        if not isinstance(event, NOT_NOTED):
            self._noted += 1
            is_bad = isinstance(event, BAD) or event == BrokerAccepts(accepts=False)
            self.notes.append(Note(self._noted, at, sentence(event), is_bad))
        match event:
            case RunStarted():
                self._begin_again(at)
            case RoundOpened():
                self._open(event, at)
            case RoundClosed() | RunFinished() | EndsEarly() | Stopping():
                self._close(event, at)
            case Waiting() | AllRefused():
                self.waiting_for = event.for_
            case _:
                self._take_of_one(event, at)

    def _take_of_one(self, event: Event, at: float) -> None:
        """Take what is told of one participant."""
        match event:
            case ParticipantProgress():
                self._progress(event, at)
            case UpdateCounted():
                self._count(event, at)
            case UpdateRefused(participant=str(name)):
                self._refuse(name, event, at)
            case ParticipantJoined():
                person = self._person(event.participant)
                person.device, person.trouble = event.device or person.device, ""
                if person.lane.open is None:
                    version = -1 if self.round is None else self.round.version
                    person.lane.begin("wait", version, at=at, change=self.change)
            case ParticipantLeft():
                self._lose(event.participant, f"left: {event.reason}", at)
            case ParticipantOutOfReach():
                self._lose(event.participant, "out of reach: its queue's broker node is down", at)
            case ParticipantSilent():
                self._lose(event.participant, f"silent since round {event.round}", at)

    def take_history(self, record: dict[str, Any], *, begin: dict[int, float], at: float) -> None:
        """Take a round of a history without events: what is known is when it began and ended.

        Args:
            record: the `round` record.
            begin: by version when it went out.
            at: when the round closed.
        """
        self.change += 1
        for update in record["updates"]:
            person = self._person(update["participant"])
            person.participants = update.get("updates")
            base, staleness = update["base_version"], update["staleness"]
            since = begin.get(base, at)
            person.updates += 1
            person.staleness = staleness
            person.seconds.append(at - since)
            person.lane.add(Span(0, "train", since, base, at, staleness, changed=self.change))

    def _person(self, name: str) -> Person:
        person = self.people.setdefault(name, Person(name))
        person.changed = self.change
        return person

    def _begin_again(self, at: float) -> None:
        """Forget who was at work: a coordinator that starts hears of everybody anew."""
        for person in self.people.values():
            person.lane.leave(at=at, change=self.change)
            person.changed = self.change
        self.round, self.end, self.waiting_for = None, None, ""
        self.counted, self.refused = {}, set()

    def _open(self, event: RoundOpened, at: float) -> None:
        if event.participants is not None:
            self.members = event.participants
        self.round, self.opened_at, self.waiting_for = event, at, ""
        self.counted, self.refused = {}, set()
        for name in self.members:
            person = self._person(name)
            if not person.lane.is_at_work:
                person.lane.begin("download", event.version, at=at, change=self.change)
                person.step = person.steps = 0

    def _close(self, event: Event, at: float) -> None:
        if isinstance(event, RoundClosed):
            if self.round is not None and event.round == self.round.round:
                self.round = None
            return
        self.round, self.waiting_for, self.end = None, "", event
        for person in self.people.values():
            person.lane.leave(at=at, change=self.change)
            person.changed = self.change

    def _progress(self, event: ParticipantProgress, at: float) -> None:
        person = self._person(event.participant)
        person.participants = event.participants
        phase = PHASES.get(event.phase)
        if phase is None:
            return
        if phase == "wait" and person.lane.is_at_work:
            return  # the report was made before the version that went out meanwhile
        if any(each.staleness is not None for each in person.lane.of_version(event.version)):
            return  # the update came before the report of its upload
        person.lane.begin(phase, event.version, at=at, change=self.change)
        person.step, person.steps = event.step, event.steps

    def _count(self, event: UpdateCounted, at: float) -> None:
        person = self._person(event.participant)
        self.counted[person.name] = self.counted.get(person.name, 0) + 1
        person.updates += 1
        person.participants = event.updates
        person.staleness, person.trouble = event.staleness, ""
        self._answer(person, event.base_version, event.staleness, at)

    def _refuse(self, name: str, event: UpdateRefused, at: float) -> None:
        if name not in self.people:
            return  # whoever says so: nobody of that name takes part
        person = self._person(name)
        person.trouble = f"refused: {event.reason}"
        if self.round is not None and event.base_version == self.round.version:
            self.refused.add(name)
        self._answer(person, event.base_version, None, at)

    def _answer(self, person: Person, base: int, staleness: int | None, at: float) -> None:
        begun = [each.begin for each in person.lane.of_version(base)]
        if begun:
            person.seconds.append(at - min(begun))
        person.lane.answer(base, staleness, at=at, change=self.change)
        newest = -1 if self.round is None else self.round.version
        if base < newest and person.name in self.members:  # it takes the newest version at once
            person.lane.begin("download", newest, at=at, change=self.change)

    def _lose(self, name: str, why: str, at: float) -> None:
        person = self._person(name)
        person.trouble = why
        person.lane.leave(at=at, change=self.change)
