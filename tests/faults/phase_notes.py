"""What a process was doing when it was killed: a note in a mapped file, which outlives it.

The product knows nothing of this: its methods are wrapped in the process that is to be killed.
"""

import functools
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordinator.books import Books
from coordinator.desk import Desk
from coordinator.reception import Reception
from coordinator.service import Coordinator
from coordinator.training_run import TrainingRun
from participant.reader import VersionReader
from participant.slot import WorkSlot

NOTE_BYTES = 32


class PhaseNote:
    """The phase of one process, written by it and read by whoever kills it."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(NOTE_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), NOTE_BYTES)

    @property
    def phase(self) -> str:
        return self._map[:].rstrip(b"\0").decode()

    @phase.setter
    def phase(self, phase: str) -> None:
        self._map[:] = phase.encode().ljust(NOTE_BYTES, b"\0")


def watch(note: PhaseNote, service: str) -> None:
    """Wrap what `service` does, so that the note always says what it is at."""
    note.phase = "starting"
    if service == "coordinator":
        _watch_coordinator(note)
    else:
        _watch_participant(note)


def _watch_coordinator(note: PhaseNote) -> None:
    _wrap(note, Coordinator, "_open_round", "publishing")
    _wrap(note, Coordinator, "_collect", "collecting")
    _wrap(note, Coordinator, "_finish", "finishing")
    _wrap(note, Reception, "_fold", "folding")
    _wrap(note, TrainingRun, "close_round", "aggregating")
    _wrap(note, Books, "commit", "committing")
    _wrap(note, Desk, "acknowledge_up_to", "acknowledging", stays=True)


def _watch_participant(note: PhaseNote) -> None:
    _wrap(note, VersionReader, "_add", "downloading", stays=True)
    _wrap(note, WorkSlot, "_train", "training", stays=True)
    _wrap(note, WorkSlot, "_upload", "uploading", then="waiting")


def _wrap(
    note: PhaseNote,
    owner: type,
    name: str,
    phase: str,
    *,
    stays: bool = False,
    then: str | None = None,
) -> None:
    """Note `phase` while a method runs, and then what was before, or `then`, or nothing new."""
    method: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(method)
    def noted(*args: Any, **kwargs: Any) -> Any:
        before = note.phase
        note.phase = phase
        result = method(*args, **kwargs)
        if not stays:
            note.phase = then or before
        return result

    setattr(owner, name, noted)
