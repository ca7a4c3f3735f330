"""The worker of a region: answers a version above with the sum of a round below."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanfold.participant.answering_worker import AnsweringWorker
from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.held_base import HeldBase
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.training_state import TrainingState
from fanfold.participant.version import Version
from fanfold.participant.worker_events import Activity
from fanfold.region.handover import Handover
from fanfold.region.sums import VersionFromAbove
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.shared import TrainingNote
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import Update


@dataclass(frozen=True, slots=True)
class RoundBelow:
    """What the service tells of a round below, in a training's place."""

    seconds: float
    history: Sequence[dict[str, float]]


class RegionalWorker(AnsweringWorker):
    """Hands a version down, waits for the sum of its round, keeps it and sends it up."""

    def __init__(
        self,
        handover: Handover,
        *,
        participant: str,
        state: StateFolder,
        channel: ParticipantChannel,
        chunk_bytes: int,
        deliver: Callable[[object], None],
    ) -> None:
        """Begin with nothing to do; the arguments are those of `AnsweringWorker`."""
        self._handover = handover
        self._base = HeldBase()
        super().__init__(
            participant=participant,
            state=state,
            channel=channel,
            chunk_bytes=chunk_bytes,
            deliver=deliver,
        )

    def abandon(self) -> None:
        """End the wait for a sum, and an upload wherever it is."""
        super().abandon()
        self._handover.look()

    def _make(self, version: Version, training_state: TrainingState) -> tuple[Encoded, RoundBelow]:
        self.activity = Activity("training")
        began = time.monotonic()
        given = self._read(version)
        message = given.message
        total = self._handover.sum_for(given, self._abandoned.is_set)
        update = Update(
            run=message.run,
            participant=self._participant,
            base_version=message.version,
            base_digest=version.digest,
            num_examples=total.num_examples,
            metrics=dict(total.metrics),
            updates=total.updates,
        )
        owed = {} if message.fixed else training_state.owed_to(message.run)
        encoded, left = encode_update(
            update, total.tensors, owed, kinds=total.kinds, encoding=message.encoding
        )
        self._keep(training_state, encoded, left)
        return encoded, RoundBelow(time.monotonic() - began, [dict(total.metrics)])

    def _read(self, version: Version) -> VersionFromAbove:
        """Decode a version that is whole, or the difference to the one before.

        Raises:
            BaseNotHeldError: if it is the difference to another one.
            InvalidInputError: if no region can take part in its run.
        """
        message, tensors = self._base.read(version)
        for asked, what in (("privacy", "differential privacy"), ("masks", "masks")):
            if getattr(message, asked) is not None:
                raise InvalidInputError(
                    f"the run {message.run} above has {what}, which hold for single participants: "
                    "a region sends sums and cannot take part; its participants can, at the broker "
                    "above"
                )
        assert version.assembly is not None  # it was read
        kinds = {entry.name: entry.kind for entry in version.assembly.decode().entries}
        return VersionFromAbove(message, version.digest, tensors, kinds)

    def _take_final(self, version: Version) -> Event:
        return TrainingNote(
            f"the last model, version {version.number} of {version.run}, stays with the "
            "participants of the federation above: a region does not pass it on"
        )
