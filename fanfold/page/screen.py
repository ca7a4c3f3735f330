"""What a browser is sent of a run: everything at first, then what has changed.

Sections of words and curves travel as HTML, which replaces that of before; participants and the
spans of their lanes as values, which the page draws.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fanfold.page.actions import BUTTONS, SHOWN
from fanfold.page.answers import Look, answers, round_seconds, state_of
from fanfold.page.curves import curves_of
from fanfold.page.live_run import Person
from fanfold.page.queues import Queues
from fanfold.page.templates import rendered
from fanfold.page.truth import truth
from fanfold.page.watched_run import WatchedRun
from fanfold.registry.details import lineage_of
from fanfold.registry.record import Parent
from fanfold.registry.registry import Registry
from fanfold.runs.run_data import RunData
from fanfold.schemas.region_names import region_of
from fanfold.storage.compact_json import compact_json

CURVES_SECONDS = 1.0
"""Between two drawings of the curves."""
LOOK_SECONDS = 0.25
"""Between two looks at a run's files, while somebody looks at it."""
MOST_SHARE = 0.01
"""Of the time, for looks: a coordinator may need the processor."""
LONGEST_SECONDS = 0.6
"""Between two looks nevertheless: an event is to be on the screen within a second."""
DOING = {"download": "gets", "train": "trains on", "upload": "sends its update of"}
DID = {"download": "was to get", "train": "trained on", "upload": "was sending its update of"}
"""What somebody did when the coordinator ended."""


@dataclass(slots=True)
class Seen:
    """What one browser has been sent."""

    serial: int = 0
    """Of the newest moment that it knows."""
    generation: int = -1
    change: int = -1
    is_alive: bool = False
    note: int = 0
    sections: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Moment:
    """A run as all browsers are shown it, until the next look."""

    serial: int
    at: float
    """On the clock of looks."""
    look: Look
    sections: dict[str, str]
    change: int
    """The number of the newest change: a list of runs may read on before all are shown it."""
    note: int
    """The number of the newest note."""
    frames: dict[int, str | None] = field(default_factory=dict)
    """What a browser lacks, by the serial of what it knows."""


class Screen:
    """One run as its viewers see it. Any thread may call `news`, one at a time.

    However many look, the run's files are read, and what is new is worked out, once for all of
    them; and less often where that takes long, so that it costs no more than a share of the time.

    Args:
        run: whose files are read.
        clock: seconds that only grow.
        queues: tells, at once, what of the run lies at the broker, where somebody knows.
    """

    def __init__(
        self,
        run: WatchedRun,
        clock: Callable[[], float] = time.monotonic,
        *,
        queues: Callable[[], Queues | None] = lambda: None,
    ) -> None:
        self.run = run
        self._queues = queues
        self._clock = clock
        self._lock = threading.Lock()
        self._curves, self._curves_at, self._curves_of = "", 0.0, (-1, -1)
        self._moment: Moment | None = None
        self._cost_seconds = 0.0
        """What the newest moment has cost so far."""

    def look(self) -> Look:
        """Return how the run stands.

        Raises:
            OSError: if its files cannot be read.
        """
        with self._lock:
            return self.run.look()

    def news(self, seen: Seen) -> str | None:
        """Return what a browser lacks, as JSON; None if it has everything.

        Raises:
            OSError: if the run's files cannot be read.
        """
        with self._lock:
            began = self._clock()
            moment = self._moment_now(began)
            if seen.serial not in moment.frames:
                moment.frames[seen.serial] = _frame(moment, seen)
                self._cost_seconds += self._clock() - began
            frame = moment.frames[seen.serial]
            seen.serial, seen.generation = moment.serial, moment.look.generation
            seen.is_alive = moment.look.is_alive
            seen.sections, seen.change, seen.note = moment.sections, moment.change, moment.note
            return frame

    def _moment_now(self, now: float) -> Moment:
        """Return the run as it is shown now: as it is, or was a moment ago."""
        before = self._moment
        if before is not None:
            pause = max(LOOK_SECONDS, self._cost_seconds / MOST_SHARE)
            if now < before.at + min(pause, LONGEST_SECONDS):
                return before
        look = self.run.look()
        self._moment = Moment(
            serial=1 if before is None else before.serial + 1,
            at=now,
            look=look,
            sections=self._sections(look),
            change=look.live.change,
            note=look.live.notes[-1].serial if look.live.notes else 0,
        )
        self._cost_seconds = self._clock() - now
        return self._moment

    def _lineage(self, look: Look) -> list[Parent]:
        """Return the versions that a run comes from, its parent's first."""
        if look.record is None or look.record.parent is None:
            return []
        return list(lineage_of(Registry(self.run.folder.parent.parent), look.record))

    def _sections(self, look: Look) -> dict[str, str]:
        """Return HTML by the id of the element that shows it."""
        which = (look.generation, len(look.data.rounds))
        if which != self._curves_of and look.now - self._curves_at >= CURVES_SECONDS:
            self._curves_at, self._curves_of = look.now, which
            name = look.data.run or self.run.name
            self._curves = rendered("curves.html.jinja", curves=curves_of({name: look.data}))
        found, lineage = answers(look), self._lineage(look)
        return {
            "state": state_of(look),
            "truth": rendered("truth.html.jinja", facts=truth(look)),
            "answers": rendered("answers.html.jinja", answers=found),
            "status": " ".join(f"{each.question} {each.short}." for each in (found[0], found[2])),
            "curves": self._curves,
            "counts": rendered("counts.html.jinja", **_counts(look.data)),
            "queues": rendered(
                "queues.html.jinja", queues=self._queues() if look.is_alive else None
            ),
            "lineage": rendered("lineage.html.jinja", record=look.record, lineage=lineage),
            "actions": rendered("actions.html.jinja", **_actions(look)),
            "models": rendered("models.html.jinja", run=self.run.name, models=self.run.models()),
        }


def _frame(moment: Moment, seen: Seen) -> str | None:
    """Return what a browser lacks of a moment that knows what it has seen; None for nothing."""
    look, sections = moment.look, moment.sections
    live = look.live
    is_new = seen.generation != look.generation
    known = {} if is_new else seen.sections
    change, note = (-1, 0) if is_new else (seen.change, seen.note)
    frame: dict[str, Any] = {
        "sections": {name: html for name, html in sections.items() if known.get(name) != html},
        "people": [
            _row(each, is_alive=look.is_alive)
            for each in live.people.values()
            if each.changed > change or seen.is_alive != look.is_alive
        ],
        "spans": {
            each.name: spans
            for each in live.people.values()
            if each.lane.changed > change and (spans := each.lane.since(change))
        },
        "notes": [
            [each.serial, round(each.time, 1), each.text, each.is_bad]
            for each in live.notes
            if note < each.serial <= moment.note
        ],
    }
    if not is_new and not any(frame.values()):
        return None
    frame |= {
        "is_new": is_new,
        "now": look.now if look.is_alive else (live.heard_at or look.ended_at),
        "is_alive": look.is_alive,
        "version": live.round.version if live.round else look.rounds,
        "round_seconds": round_seconds(look.data),
    }
    return compact_json(frame)


def _actions(look: Look) -> dict[str, Any]:
    """Return the buttons of a run as it stands, and whom one can revoke."""
    state = "" if look.record is None else look.record.state
    present = [each.name for each in look.live.people.values() if each.lane.open is not None]
    return {
        "buttons": [BUTTONS[each] for each in SHOWN.get(state, ())],
        "participants": sorted(present) if state == "open" else [],
    }


def _counts(data: RunData) -> dict[str, Any]:
    """Return what did not count, and what travelled."""
    shares = (data.rounds[-1].get("shares") if data.rounds else None) or {}
    return {
        "refused": data.refused.most_common(),
        "left_out": [each for each in data.participants.values() if each.refused_rounds],
        "clipped": sorted((name, share) for name, share in shares.items() if share < 1),
        "bytes_down": sum(each.get("bytes_down", 0) for each in data.rounds),
        "bytes_up": sum(each.get("bytes_up", 0) for each in data.rounds),
    }


def _row(person: Person, *, is_alive: bool) -> dict[str, Any]:
    """Return one participant as the table shows it."""
    span = person.lane.open
    if span is None:
        kind, words = ("bad" if person.trouble else "away"), person.trouble or "not at work"
        if person.trouble.startswith("left"):
            kind = "away"
    elif span.phase == "wait":
        kind, words = "wait", "waits" if is_alive else "waited"
    else:
        does = DOING if is_alive else DID
        kind, words = span.phase, f"{does[span.phase]} version {span.version}"
        if span.phase == "train" and person.steps:
            words += f", step {person.step} of {person.steps}"
    if span is not None and person.trouble:
        kind, words = "bad", f"{words}; {person.trouble}"
    return {
        "name": person.name,
        "kind": kind,
        "words": words,
        "since": None if span is None or not is_alive else round(span.begin, 2),
        "updates": person.updates,
        "staleness": person.staleness,
        "device": person.device if person.participants is None else region_of(person.participants),
    }
