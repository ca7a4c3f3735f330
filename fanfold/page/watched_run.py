"""One run's folder, followed while somebody looks."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.model_names import BEST, MODEL, SUFFIX, VERSIONS
from fanfold.monitoring.event_log import EVENTS, EVENTS_BEFORE, is_written
from fanfold.page.answers import Look
from fanfold.page.live_run import LiveRun
from fanfold.registry.models import kept_versions
from fanfold.registry.record import RunRecord
from fanfold.registry.registry import RECORD
from fanfold.runs.following import Follower
from fanfold.runs.run_data import RunData
from fanfold.schemas.events.event import UnknownEvent
from fanfold.schemas.events.reading import event_of

MOST_KEPT = 50
"""Kept versions that are offered, the newest ones."""


@dataclass(frozen=True, slots=True)
class Model:
    """A file that a run leaves."""

    name: str
    what: str
    num_bytes: int


class WatchedRun:
    """A run, as far as its files tell of it by now. Used by one thread at a time.

    Args:
        name: under which the page knows it.
        folder: of the run; only read.
        clock: seconds since 1970.
    """

    def __init__(self, name: str, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.folder = folder
        self._clock = clock
        self._generation = 0
        self._record: RunRecord | None = None
        self._record_of = 0
        """When what is known of the record was written."""
        self._kept: list[int] = []
        self._kept_changed = 0
        """When the folder of the kept versions was changed, as far as is known."""
        self._begin()

    def _begin(self) -> None:
        self._history = Follower(self.folder / HISTORY)
        self._events = Follower(self.folder / EVENTS, self.folder / EVENTS_BEFORE)
        self._data, self._live = RunData(), LiveRun()
        self._has_events = False
        self._begun: dict[int, float] = {}

    def look(self) -> Look:
        """Read what is new, and return how the run stands.

        Raises:
            OSError: if a file is there and cannot be read.
        """
        self._read()
        if self._history.restarts:  # a new run in the same folder, or one that was restored
            self._begin()
            self._generation += 1
            self._read()
        return Look(
            self._data,
            self._live,
            is_alive=is_written(self.folder / EVENTS),
            now=self._clock(),
            generation=self._generation,
            record=self._registered(),
        )

    def _registered(self) -> RunRecord | None:
        """Return what the registry of `fanfold serve` says of the run, where it is of one."""
        path = self.folder / RECORD
        try:
            written = path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if written != self._record_of:
            try:
                self._record = RunRecord.model_validate_json(path.read_bytes())
            except ValidationError:  # of another release: the folder says what there is
                self._record = None
            self._record_of = written
        return self._record

    def models(self) -> list[Model]:
        """Return the models that can be taken away: the last, the best, and the newest kept."""
        found = []
        kept = [(f"{VERSIONS}/{each}{SUFFIX}", f"version {each}") for each in self._kept_versions()]
        for name, what in ((MODEL, "the last version"), (BEST, "the best version"), *kept):
            with suppress(FileNotFoundError):
                found.append(Model(name, what, (self.folder / name).stat().st_size))
        return found

    def _kept_versions(self) -> list[int]:
        """Return the newest versions that are kept; the folder is read when it has changed."""
        try:
            changed = (self.folder / VERSIONS).stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if changed != self._kept_changed:
            self._kept = kept_versions(self.folder)[:MOST_KEPT]
            self._kept_changed = changed
        return self._kept

    def _read(self) -> None:
        for told in self._events.news():
            event = event_of(told.pop("event"), told)
            if not isinstance(event, UnknownEvent):
                self._has_events = True
                self._live.take(event)
        for record in self._history.news():
            self._data.take(record)
            if not self._has_events and record["event"] in {"started", "round"}:
                self._date(record)

    def _date(self, record: dict[str, object]) -> None:
        """Make lanes of a history alone, where its records have times."""
        begun = self._data.begun
        if begun is None or "time" not in record:
            return
        at = timestamp(str(record["time"]))
        if record["event"] == "started":
            self._begun.setdefault(int(str(record.get("version", 0))), at)
            return
        self._live.take_history(record, begin=self._begun, at=at)
        self._begun[int(str(record["round"]))] = at


def timestamp(text: str) -> float:
    """Return an ISO time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()
