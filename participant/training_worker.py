"""The training worker: answers versions by training on private data, while the service listens."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from fanfold.learning import Task
from fanfold.participant import final_model
from fanfold.participant.answering_worker import AnsweringWorker
from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.fixed_update import fixed_update
from fanfold.participant.held_base import HeldBase
from fanfold.participant.masking import Masking, refuse_masks
from fanfold.participant.observer import Observer
from fanfold.participant.open_runs.turns import Turn, Turns
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.participant.training_state import TrainingState, restore_private
from fanfold.participant.update_privacy import private_update
from fanfold.participant.version import Version
from fanfold.participant.worker_events import Activity, ToldOnce
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.events.event import Event
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import Update


class TrainingWorker(AnsweringWorker):
    """Trains, encodes and uploads one version at a time, in a thread of its own.

    Args:
        task: is used by the worker's thread only, like the trainer.
        trainer: of that task.
        participant: the id.
        state: what is stored of earlier trainings.
        channel: where updates go.
        chunk_bytes: bytes in each chunk of an update but the last.
        deliver: called with results and news, in the worker's thread.
        observer: sees how long each part of the work takes.
        masking: hides updates; None sends them as they are.
    """

    def __init__(
        self,
        task: Task,
        trainer: Trainer,
        *,
        participant: str,
        state: StateFolder,
        channel: ParticipantChannel,
        chunk_bytes: int,
        deliver: Callable[[object], None],
        observer: Observer | None = None,
        masking: Masking | None = None,
        turn: Turn | None = None,
    ) -> None:
        super().__init__(
            participant=participant,
            state=state,
            channel=channel,
            chunk_bytes=chunk_bytes,
            deliver=deliver,
            observer=observer,
        )
        self._trainer = trainer
        self._base = HeldBase()
        self._masking = masking
        self._room: Mapping[str, Tensor] = {}
        """The last update's tensors, whose memory the next version and its update take."""
        self._turn = turn or Turns().turn()
        task.execution = replace(
            task.execution,
            should_stop=self._abandoned.is_set,
            on_step=self._on_step,
            on_note=ToldOnce(deliver),
        )

    def abandon(self) -> None:
        """End the training between two batches, the wait for one, and an upload wherever it is."""
        super().abandon()
        self._turn.withdraw()

    def _restore(self, training_state: TrainingState) -> None:
        restore_private(self._trainer.private_tensors, training_state.private)

    def _private_tensors(self) -> Mapping[str, Tensor]:
        return self._trainer.private_tensors

    def _take_final(self, version: Version) -> Event:
        return final_model.keep(version, self._trainer, self._state.folder, self.await_disk)

    def _make(
        self, version: Version, training_state: TrainingState
    ) -> tuple[Encoded, TrainedUpdate]:
        self.activity = Activity("training")
        with self._turn:
            return self._trained(version, training_state)

    def _trained(
        self, version: Version, training_state: TrainingState
    ) -> tuple[Encoded, TrainedUpdate]:
        if self._room:
            training_state.leave_last_update()
        with self._observer.phase("decode"):
            message, tensors = self._base.read(version, room=self._room)
        # What is owed carries no noise: it must not leave beside what does.
        owed = {} if message.privacy or message.fixed else training_state.owed_to(message.run)
        with self._observer.phase("train"):
            trained = self._trainer.train(
                tensors,
                version=message.version,
                plan=message.plan,
                owed=owed,
                frozen=message.frozen,
                room=self._room,
            )
        if message.privacy is not None:
            kept = training_state.is_durable
            trained = private_update(
                trained, message.privacy, base=tensors, encoding=message.encoding, is_kept=kept
            )
        if message.fixed is not None:
            trained = fixed_update(trained, message.fixed, base=tensors)
        seeds = None
        if self._masking is None:
            refuse_masks(message)
        else:
            trained, seeds = self._masking.masked(trained, message)
        update = Update(
            run=message.run,
            participant=self._participant,
            base_version=message.version,
            base_digest=version.digest,
            num_examples=trained.num_examples,
            steps=trained.steps,
            metrics=dict(trained.metrics),
            seeds=seeds,
        )
        with self._observer.phase("encode"):
            encoded, left = encode_update(
                update, trained.tensors, owed, kinds=trained.kinds, encoding=message.encoding
            )
            self._keep(training_state, encoded, left)
        # Where something is owed several updates are kept, and each may view tensors of its own.
        self._room = {} if left else trained.tensors
        return encoded, trained

    def _on_step(self, step: int, steps: int, _loss: Any) -> None:
        self.activity.step, self.activity.steps = step, steps
