"""A simulated federation: the coordinator's run, and real trainings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.deltas_alone import check_deltas_alone
from fanfold.coordinator.aggregation.fixed_settings import wire_encoding
from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.published_model import PublishedModel
from fanfold.coordinator.aggregation.root_update import RootTrainer
from fanfold.coordinator.aggregation.run_state import Contribution, Refusal, RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import Task
from fanfold.participant.fixed_update import fixed_update
from fanfold.participant.trainer import TrainedUpdate
from fanfold.schemas.chunking import cut
from fanfold.schemas.encodings import whole_encoding
from fanfold.schemas.error_feedback import encode_update
from fanfold.schemas.message_codec import Encoded, received
from fanfold.schemas.messages import TrainingPlan, Update
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors
from fanfold.simulation.bandwidth import UNLIMITED_LINK, Link
from fanfold.simulation.participants import Participants
from fanfold.simulation.round_recorder import RoundRecorder


@dataclass(slots=True)
class HeldVersion:
    """A version on which a participant trains or will train, encoded and decoded again."""

    tensors: Mapping[str, Tensor]
    digest: str
    holders: int = 0


class SimulatedFederation:
    """Publishes, trains, folds and closes as the services do, with the same messages and bytes.

    An update that would be refused because of its labels alone is not trained. With private tensors
    this makes a difference: they stay as the last training that took place left them.
    """

    def __init__(
        self,
        settings: RoundSettings,
        *,
        run_id: str,
        task: Task,
        participants: Participants,
        names: list[str],
        example_seconds: float,
        links: Sequence[Link],
        recorder: RoundRecorder,
    ) -> None:
        """Build version 0, as the coordinator does.

        Raises:
            InvalidInputError: if the initial parameters cannot be used.
        """
        self.settings = settings
        self._participants = participants
        self._names = names
        self._example_seconds = example_seconds
        self._links = links
        self._recorder = recorder
        model = initial_model(task, settings.seed, settings.initial, lora=settings.lora)
        if settings.fixed is not None:
            check_deltas_alone("--encoding fixed", model.tensors, model.kinds)
        self.form = model.form
        self.run = RunState(
            run_id=run_id,
            tensors=model.tensors,
            kinds=model.kinds,
            staleness=parse_staleness(settings.staleness_weight),
            optimizer=parse_optimizer(settings.server_optimizer),
            limits=settings.limits,
            aggregation=make_aggregation(
                settings.aggregation, root=lambda: RootTrainer(task, self._plan)
            ),
        )
        self.run.leave_frozen(model.form.frozen_sha256)
        self._published = PublishedModel.wanted(self.run, settings.encoding_down)
        self._held: dict[int, HeldVersion] = {}
        self._answered: dict[int, int] = {}
        """For each participant the base version of its last update that was counted."""
        self.last_refusal = "none"
        """The participants whose last update was refused, with the reason."""
        self._version_bytes = 0
        self._difference_bytes: int | None = None
        """Of the current version for who answered the one before; None where it comes whole."""
        self._update_bytes: int | None = None  # made when first needed

    @property
    def version(self) -> int:
        """The current version."""
        return self.run.version

    @property
    def is_over(self) -> bool:
        """Whether the last round was closed, or a metric says that it should be."""
        return (
            self.run.version >= self.settings.rounds
            or self._recorder.watch.reason_to_end is not None
        )

    def hold(self, version: int) -> None:
        """Note that one more participant will need this version."""
        if version not in self._held:
            self._held[version] = self._encoded_version()  # it is held when it is published
        self._held[version].holders += 1

    def let_go(self, version: int) -> None:
        """Note that a participant no longer needs this version; the last one frees its tensors."""
        held = self._held[version]
        held.holders -= 1
        if not held.holders:
            del self._held[version]

    def publish(self, receivers: Collection[int]) -> None:
        """Record the digest of the version that is published, and its bytes."""
        self.run.announced(self._held[self.version].digest)
        self._recorder.open_round()
        self._recorder.bytes_down += sum(map(self._bytes_to, receivers))

    def send(self, participant: int) -> None:
        """Count the bytes that are sent to one that waits: a difference if it holds its base."""
        self._recorder.bytes_down += self._bytes_to(participant)

    def resend(self, num_receivers: int) -> None:
        """Count the bytes of whole versions that are sent to participants."""
        self._recorder.bytes_down += num_receivers * self._version_bytes

    def training_seconds(self, participant: int) -> float:
        """Return the seconds that a training takes the median participant, by its examples."""
        settings, num_examples = self.settings, self._participants.num_examples(participant)
        if settings.steps is not None:
            return self._example_seconds * settings.steps * min(settings.batch_size, num_examples)
        return self._example_seconds * settings.epochs * num_examples

    def sending_seconds(self, participant: int) -> float:
        """Return how long a version takes to the participant, and an update of all tensors back."""
        link = self._links[participant]
        if link == UNLIMITED_LINK:
            return 0.0
        if self._update_bytes is None:
            self._update_bytes = self._bytes_of_an_update()
        num_bytes = self._bytes_to(participant)
        return link.seconds(bytes_up=self._update_bytes, bytes_down=num_bytes)

    def answer(self, participant: int, base_version: int) -> int | None:
        """Train and fold; return the staleness of the update, or None if it was refused."""
        held = self._held[base_version]
        update = Update(
            run=self.run.run_id,
            participant=self._names[participant],
            base_version=base_version,
            base_digest=held.digest,
            num_examples=self._participants.num_examples(participant),
        )
        outcome: Refusal | Contribution | None = self.run.judge(update, "")
        if outcome is None:
            outcome = self._train_and_fold(participant, update, held)
        if isinstance(outcome, Refusal):
            self._recorder.refused[outcome.reason] += 1
            self.last_refusal = f"{update.participant}, {outcome}"
            return None
        self._answered[participant] = base_version
        return outcome.staleness

    def close_round(self, now: float, seconds: float) -> None:
        """Aggregate, write the history, evaluate if that is due."""
        contributions = self.run.close_round()
        self._recorder.close_round(
            self.run, contributions, now=now, seconds=seconds, is_last=self.is_over
        )

    def _bytes_to(self, participant: int) -> int:
        """Return what the current version takes to one that waits for it.

        Who answered the version before, and was counted, holds it, and is sent what changed.
        """
        holds_base = self._answered.get(participant, -1) == self.version - 1 >= 0
        if holds_base and self._difference_bytes is not None:
            return self._difference_bytes
        return self._version_bytes

    def _plan(self, version: int) -> TrainingPlan:
        return self.settings.plan(version, self.settings.rounds)

    def _encoded_version(self) -> HeldVersion:
        run = self.run
        message = self.settings.announcement(run.run_id, run.version, frozen=run.origin.frozen)
        tensors: Mapping[str, Tensor] = self.run.tensors
        if self._published is not None:
            self._published.publish(message, self.run.tensors)
            tensors = self._published.tensors
        encoded = encode_tensors(
            message,
            tensors,
            kinds=self.run.kinds,
            encoding=whole_encoding(self.settings.encoding_down),
        )
        self._version_bytes, digest = encoded.num_bytes, _digest(encoded)
        difference = None if self._published is None else self._published.named(digest)
        self._difference_bytes = None if difference is None else difference.num_bytes
        return HeldVersion(decode_tensors(received(encoded)), digest)

    def _bytes_of_an_update(self) -> int:
        """Return the size of an update of all tensors, which does not depend on their values."""
        update = Update(
            run=self.run.run_id,
            participant=self._names[-1],
            base_version=self.version,
            base_digest="0" * 64,
            num_examples=1,
        )
        zeros = {name: torch.zeros_like(tensor) for name, tensor in self.run.tensors.items()}
        encoding = wire_encoding(self.settings.encoding)
        return encode_tensors(update, zeros, kinds=self.run.kinds, encoding=encoding).num_bytes

    def _train_and_fold(
        self, participant: int, update: Update, held: HeldVersion
    ) -> Refusal | Contribution:
        trained = self._participants.train(
            participant,
            held.tensors,
            version=update.base_version,
            plan=self._plan(update.base_version),
            frozen=self.run.origin.frozen,
        )
        if self.settings.fixed is not None:
            trained = fixed_update(trained, self.settings.fixed, base=held.tensors)
        update = update.model_copy(
            update={"metrics": dict(trained.metrics), "steps": trained.steps}
        )
        encoded = self._encode(participant, update, trained)
        decoded = received(encoded)
        tensors = decode_tensors(decoded)
        kinds = {entry.name: entry.kind for entry in decoded.entries}
        refusal = self.run.inspect(tensors, kinds)
        if refusal is not None:
            return refusal
        self._recorder.received(update, encoded.num_bytes)
        return self.run.fold(update, tensors, _digest(encoded))

    def _encode(self, participant: int, update: Update, trained: TrainedUpdate) -> Encoded:
        """Encode an update as the settings say; what top-k leaves out is added to the next one."""
        residuals = self._participants.residuals
        encoded, residuals[participant] = encode_update(
            update,
            trained.tensors,
            residuals.get(participant, {}),
            kinds=trained.kinds,
            encoding=wire_encoding(self.settings.encoding),
        )
        return encoded


def _digest(encoded: Encoded) -> str:
    return cut(encoded)[0].header.whole.digest
