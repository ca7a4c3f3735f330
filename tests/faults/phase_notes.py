"""The phase a process was in when it was killed, noted in a mapped file, which outlives it.

The product does not know of it: its methods are wrapped in the process that is to be killed.
"""

import functools
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from fanfold.coordinator.admission.accept_or_refuse import UpdateHandler
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.round_loop import Coordinator
from fanfold.keeper.channel import KeeperChannel
from fanfold.keeper.journal import Journal
from fanfold.keeper.rules import Answering
from fanfold.participant.training_worker import TrainingWorker
from fanfold.participant.uploader import Uploader
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.schemas.chunking import Chunk

NOTE_BYTES = 32
Fate = Literal["die", "stop"]


class PhaseNote:
    """The phase of one process, written by it and read by whoever kills it.

    It also holds the phase in which the process is to kill itself, or to stop: the shortest phases
    last less than a millisecond and can hardly be hit from outside.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(2 * NOTE_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 2 * NOTE_BYTES)

    @property
    def phase(self) -> str:
        return self._map[:NOTE_BYTES].rstrip(b"\0").decode()

    @phase.setter
    def phase(self, phase: str) -> None:
        self._map[:NOTE_BYTES] = phase.encode().ljust(NOTE_BYTES, b"\0")

    @property
    def aim(self) -> tuple[str, float, Fate]:
        """The phase to die or stop in, empty for none, and how many seconds after it begins."""
        phase, seconds, fate = self._map[NOTE_BYTES:].rstrip(b"\0").decode().split(";")
        return phase, float(seconds), "stop" if fate == "stop" else "die"

    @aim.setter
    def aim(self, aim: tuple[str, float, Fate]) -> None:
        phase, seconds, fate = aim
        self._map[NOTE_BYTES:] = f"{phase};{seconds:.6f};{fate}".encode().ljust(NOTE_BYTES, b"\0")

    def enter(self, phase: str) -> None:
        """Note the phase that begins, and die or stop in it if it is the one aimed at."""
        self.phase = phase
        aim, seconds, fate = self.aim
        if aim != phase:
            return
        if fate == "stop":
            time.sleep(seconds)
            self.aim = NO_AIM
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            threading.Thread(target=_die, args=(seconds,)).start()
            if not seconds:
                time.sleep(1)  # not an instruction further


NO_AIM: tuple[str, float, Fate] = ("", 0.0, "die")


def _die(after_seconds: float) -> None:
    time.sleep(after_seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def watch(note: PhaseNote, service: str) -> None:
    """Wrap what `service` does, so that the note always says what it is at."""
    note.phase = "starting"
    if service == "coordinator":
        _watch_coordinator(note)
    elif service == "keeper":
        _watch_keeper(note)
    else:
        _watch_participant(note)


def _watch_coordinator(note: PhaseNote) -> None:
    _wrap(note, Coordinator, "_publish", "publishing")
    _wrap(note, Coordinator, "_collect", "collecting")
    _wrap(note, Coordinator, "_finish", "finishing")
    _wrap(note, UpdateHandler, "_fold", "folding")
    _wrap(note, RunState, "close_round", "aggregating")
    _wrap(note, RunStore, "commit", "committing")
    _wrap(note, CoordinatorChannel, "acknowledge_up_to", "acknowledging", stays=True)


def _watch_keeper(note: PhaseNote) -> None:
    _wrap(note, Answering, "answer", "computing")
    _wrap(note, Journal, "promise", "promising")
    _wrap(note, KeeperChannel, "publish", "answering")


def _watch_participant(note: PhaseNote) -> None:
    _wrap(note, VersionReceiver, "_add", "downloading", stays=True)
    _wrap(note, TrainingWorker, "_make", "training", stays=True)
    _wrap(note, Uploader, "upload", "uploading", then="waiting")
    _watch_chunks(note)


def _watch_chunks(note: PhaseNote) -> None:
    """Note when half of an update's chunks are on their way."""
    chunks_of = Uploader._until_abandoned

    @functools.wraps(chunks_of)
    def noted(uploader: Uploader, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        for index, chunk in enumerate(chunks_of(uploader, chunks)):
            if index == len(chunks) // 2:
                note.enter("half uploaded")
            yield chunk

    Uploader._until_abandoned = noted


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
        note.enter(phase)
        result = method(*args, **kwargs)
        if not stays:
            note.phase = then or before
        return result

    setattr(owner, name, noted)
