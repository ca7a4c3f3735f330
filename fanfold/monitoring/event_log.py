"""What a coordinator tells and sees, as lines of `events.jsonl` in its folder, for who watches.

The history says what a run is made of, and is all that a replay needs. This file says how it goes
meanwhile: who is at work, late, silent or refused. Nothing depends on it, so that it is not synced,
and a disk that takes no lines costs no more than these lines.
"""

import fcntl
import json
import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Self

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.observer import Members, Unobserved
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.schemas.events.coordinator import RunStarted
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.live import (
    EventsLost,
    ParticipantProgress,
    RoundOpened,
    UpdateCounted,
)
from fanfold.schemas.events.run_folder import RunRemoved
from fanfold.schemas.messages import Progress
from fanfold.schemas.timestamps import Clock
from fanfold.storage.compact_json import compact_json
from fanfold.storage.disk import may_pass

EVENTS, EVENTS_BEFORE = "events.jsonl", "events-before.jsonl"
MOST_BYTES = 32 << 20
"""Of one file; then it becomes the one before, and a new one begins."""
MOST_WAITING = 1000
"""Events that are kept until the run begins."""


class EventLog(Unobserved):
    """Writes the file from the first `run_started` on. Belongs to the coordinator's work thread.

    It holds a lock on the file while it is entered: so others see that a coordinator is at work,
    and the system lets it go with the process, however that ends.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Write nothing yet."""
        self._folder = folder
        self._clock = clock
        self._members: Members = frozenset
        self._told_members: AbstractSet[str] | None = None
        self._file: int | None = None
        self._is_locked = False
        self._is_torn = False
        """Whether the disk took the last line in part."""
        self._num_bytes = 0
        self._waiting: list[bytes] = []
        self._lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def take(self, event: Event) -> None:
        """Write down an event that people are told."""
        if isinstance(event, RunRemoved):
            self._begin_anew()
        self._write(event)
        if isinstance(event, RunStarted) and self._file is None:
            self._open()

    def attach(
        self, *, present: Callable[[], int], members: Members, is_ready: Callable[[], bool]
    ) -> None:
        """Ask who gets a version when a round begins."""
        del present, is_ready
        self._members = members

    def opened(self, opened: OpenRound) -> None:
        """Write down that a round begins, and with whom."""
        members = frozenset(self._members())
        told = None if members == self._told_members else tuple(sorted(members))
        self._told_members = members
        policy = opened.policy
        self._write(
            RoundOpened(
                round=opened.number,
                version=opened.number - 1,
                goal=opened.goal(members),
                quorum=policy.quorum,
                deadline_seconds=policy.deadline_seconds,
                participants=told,
            )
        )

    def folded(self, contribution: Contribution) -> None:
        """Write down that an update counts."""
        self._write(
            UpdateCounted(
                contribution.participant,
                contribution.base_version,
                contribution.staleness,
                examples=contribution.num_examples,
                updates=contribution.updates,
            )
        )

    def progressed(self, progress: Progress) -> None:
        """Write down what a participant does."""
        self._write(
            ParticipantProgress(
                progress.participant,
                progress.version,
                progress.phase,
                step=progress.step,
                steps=progress.steps,
                participants=progress.participants,
            )
        )

    def _begin_anew(self) -> None:
        for name in (EVENTS, EVENTS_BEFORE):
            (self._folder / name).unlink(missing_ok=True)

    def _write(self, event: Event) -> None:
        told = event if event.time is not None else event.at(self._clock())
        self._waiting.append(compact_json(told.document()).encode() + b"\n")
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[0]
            self._lost += 1
        if self._file is not None:
            self._flush(self._file)

    def _flush(self, file: int) -> None:
        """Write what waits; what the disk refuses is dropped, and how much is told later."""
        lines, self._waiting = self._waiting, []
        if self._lost:
            told = EventsLost(self._lost).at(self._clock()).document()
            lines.insert(0, b"\n" * self._is_torn + json.dumps(told).encode() + b"\n")
        if not self._is_locked:
            self._lock(file)
        text = b"".join(lines)
        try:
            written = os.write(file, text)
        except OSError as error:
            if not may_pass(error):
                raise
            self._lost += len(lines)
            return
        self._is_torn = written < len(text)
        self._lost = len(lines) if self._is_torn else 0
        self._num_bytes += written
        if self._num_bytes > MOST_BYTES:
            self._turn_over(file)

    def _lock(self, file: int) -> None:
        """Hold the lock, if nobody looks at it just now; then the next line tries again."""
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._is_locked = True

    def _open(self) -> None:
        try:
            path = self._folder / EVENTS
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            if not may_pass(error):
                raise
            return
        self._num_bytes = os.fstat(self._file).st_size
        self._flush(self._file)

    def _turn_over(self, file: int) -> None:
        try:
            (self._folder / EVENTS).replace(self._folder / EVENTS_BEFORE)
        except OSError as error:
            if not may_pass(error):
                raise
            return
        os.close(file)
        self._file, self._told_members, self._is_locked = None, None, False
        self._open()


def is_written(path: Path) -> bool:
    """Return whether a process on this machine holds the lock of an event log."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)
