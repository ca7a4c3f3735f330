"""A worker that answers versions: one thread that makes, keeps and uploads an update at a time.

How an update is made is for its subclasses: `training_worker.py` trains.
"""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import structlog
from torch import Tensor

from fanfold.learning import LearningError, TaskFailedError, TrainingAbandoned
from fanfold.participant import final_model
from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.held_base import name_difference
from fanfold.participant.observer import Observer, Unobserved
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.training_state import FILE, TrainingState
from fanfold.participant.uploader import Uploader
from fanfold.participant.version import Version
from fanfold.participant.worker_events import (
    ABANDON_SECONDS,
    Abandoned,
    Activity,
    Answered,
    BaseNotHeldError,
    Failed,
    FinalTaken,
    Forgotten,
    NotApplied,
    Told,
    Training,
    last_words,
)
from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import StateDirTaken, StateIsOlder
from fanfold.schemas.events.shared import DiskFull, DiskRefuses
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import UpdateRefused
from fanfold.storage.disk import is_full_disk, until_there_is_room

log = structlog.get_logger()

DISK_PAUSE_SECONDS = 5.0
STATE_PAUSE_SECONDS = 1.0
LAST_SECONDS = 0.5
"""How long to wait for work that is done and only has to report it."""


class AnsweringWorker(ABC):
    """Makes, keeps and uploads one update at a time, in a thread of its own.

    Every method is called from the service's thread, but for `await_disk` and those that a
    subclass fills in.

    Args:
        participant: the id.
        state: what is stored of earlier work.
        channel: where updates go.
        chunk_bytes: bytes in each chunk of an update but the last.
        deliver: called with results and news, in the worker's thread.
        observer: sees how long each part of the work takes.
    """

    def __init__(
        self,
        *,
        participant: str,
        state: StateFolder,
        channel: ParticipantChannel,
        chunk_bytes: int,
        deliver: Callable[[object], None],
        observer: Observer | None = None,
    ) -> None:
        self._participant = participant
        self._state = state
        self._training_state: TrainingState | None = None
        self._is_age_told = False
        self._channel = channel
        self._deliver = deliver
        self._observer = observer or Unobserved()
        self._abandoned = threading.Event()
        self._uploader = Uploader(channel, chunk_bytes=chunk_bytes, abandoned=self._abandoned)
        self._orders: queue.SimpleQueue[object] = queue.SimpleQueue()
        # A daemon: a task that never asks whether it should stop must not keep the process alive.
        threading.Thread(target=self._serve, name="work", daemon=True).start()
        self.activity = Activity()

    # -- what a subclass fills in

    @abstractmethod
    def _make(
        self, version: Version, training_state: TrainingState
    ) -> tuple[Encoded, Training | None]:
        """Make the update that answers a version, and keep it before this returns.

        Raises:
            TrainingAbandoned: if told to stop.
        """

    @abstractmethod
    def _take_final(self, version: Version) -> Event:
        """Keep the last model of a run; return what people are told."""

    def _restore(self, training_state: TrainingState) -> None:
        """Take back what an earlier process left behind; nothing by default."""
        del training_state

    def _private_tensors(self) -> Mapping[str, Tensor]:
        """Return what is kept beside the update."""
        return {}

    def submit(self, version: Version) -> None:
        """Answer a version: with the kept update if there is one, else by training."""
        self._orders.put(version)

    def refused(self, note: UpdateRefused) -> None:
        """Draw the conclusions of an update that was not counted, once the work in hand is done."""
        self._orders.put(note)

    def keep_final(self, version: Version) -> None:
        """Keep the last model of a run, once the work in hand is done."""
        self._orders.put(final_model.Order(version))

    def let_go(self) -> None:
        """Leave the state folder to another process, once the work in hand is done."""
        self._orders.put(None)

    def abandon(self) -> None:
        """End the training between two batches, and an upload wherever it is."""
        self._abandoned.set()
        self._channel.give_up_update()

    def close(self) -> bool:
        """Abandon the work; return False if it goes on, because the task ignores the request."""
        was_told = self._abandoned.is_set()
        self.abandon()
        last = threading.Event()
        self._orders.put(last)
        is_idle = last.wait(LAST_SECONDS if was_told else ABANDON_SECONDS)
        if is_idle:
            self._state.let_go()
        return is_idle

    def _serve(self) -> None:
        while True:
            match self._orders.get():
                case Version() as version:
                    self._work(version)
                case UpdateRefused() as note:
                    self._learn(note)
                case final_model.Order(version):
                    self._keep_final(version)
                case threading.Event() as last:
                    last.set()
                case None:
                    self._state.let_go()

    def _work(self, version: Version) -> None:
        structlog.contextvars.bind_contextvars(run=version.run, version=version.number)
        try:
            training_state = self._remember()
            self._tell_age(training_state, version)
            name_difference(version)
            encoded, trained = training_state.answer_to(version), None
            if encoded is None and version.assembly is None:
                self._deliver(Forgotten(version))
                return
            if encoded is None:
                encoded, trained = self._make(version, training_state)
            self.activity = Activity("uploading")
            with self._observer.phase("upload"):
                is_confirmed = self._uploader.upload(encoded, training_state.sent)
        except BaseNotHeldError as error:
            self._deliver(NotApplied(version, str(error)))
        except TrainingAbandoned:
            self._deliver(Abandoned(version))
        except BaseException as error:  # noqa: BLE001 - raised again in the service's thread
            self._deliver(Failed(version, error, _last_words(error)))
        else:
            answer = Answered(version, encoded.num_bytes, trained)
            self._deliver(answer if is_confirmed else Abandoned(version))
        finally:
            self.activity = Activity()

    def _keep_final(self, version: Version) -> None:
        try:
            self._remember()
            told = self._take_final(version)
        except TrainingAbandoned:
            log.warning("told to stop before the last model was kept; it comes again")
        except (FanfoldError, LearningError, OSError) as error:
            self._deliver(Failed(version, error, _last_words(error)))
        else:
            self._deliver(FinalTaken(version, told))

    def _remember(self) -> TrainingState:
        """Return the state; wait while another process uses the folder."""
        is_told = False
        while (training_state := self._state.take()) is None:
            if not is_told:
                self._deliver(Told(StateDirTaken(str(self._state.folder))))
            is_told = True
            if self._abandoned.wait(STATE_PAUSE_SECONDS):
                raise TrainingAbandoned(0, 0)
        if training_state is not self._training_state:
            self._restore(training_state)
            self._training_state, self._is_age_told = training_state, False
        return training_state

    def _tell_age(self, training_state: TrainingState, version: Version) -> None:
        """Warn once if the state is older than the version before this one.

        That is so after a long absence, and also if the folder was restored from an old backup.
        """
        last = (
            training_state.last_update
            if training_state.has_state and not self._is_age_told
            else None
        )
        self._is_age_told = True
        if last is not None and last.run == version.run and last.base_version < version.number - 1:
            older = StateIsOlder(version=last.base_version, newest=version.number, file=FILE)
            self._deliver(Told(older))

    def _keep(
        self, training_state: TrainingState, encoded: Encoded, residual: Mapping[str, Tensor]
    ) -> None:
        """Keep the update and its state; wait while the disk cannot be written."""
        private = self._private_tensors()
        until_there_is_room(
            lambda: training_state.keep(encoded, residual=residual, private=private),
            self.await_disk,
        )

    def _learn(self, note: UpdateRefused) -> None:
        try:
            self._remember().refused(note)
        except TrainingAbandoned:
            log.warning("told to stop before the state folder was free")
        except (OSError, InvalidInputError) as error:
            log.warning("--state-dir does not say that an update was refused", reason=str(error))

    def await_disk(self, error: OSError) -> None:
        """Pause before the next attempt to write; called in the worker's thread.

        Raises:
            TrainingAbandoned: if told to stop.
        """
        kind = DiskFull if is_full_disk(error) else DiskRefuses
        self._deliver(Told(kind(str(self._state.folder), reason=error.strerror)))
        if self._abandoned.wait(DISK_PAUSE_SECONDS):
            raise TrainingAbandoned(self.activity.step, self.activity.steps)


def _last_words(error: BaseException) -> str:
    if isinstance(error, TaskFailedError) and error.__cause__ is not None:
        error = error.__cause__  # its sentence tells what the task's code said
    return last_words(error, (FanfoldError, LearningError))
