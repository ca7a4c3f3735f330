"""The simulated participants: each its own data, trained one after the other as in the service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fanfold.learning import local_device
from fanfold.participant.assembly import build_task
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.schemas.messages import TrainingPlan


@dataclass(frozen=True, slots=True)
class Share:
    """What participants train on, and how it is divided among them."""

    task: str
    data: Path | None
    partition: str
    num_partitions: int
    seed: int
    device: str | None


class Participants:
    """Trainers by participant, made when they are first needed.

    Where a task shares all tensors, one network serves them all: a version replaces everything in
    it. Where it does not, everybody keeps a network of their own, and memory grows with them.
    """

    def __init__(
        self,
        names: list[str],
        share: Share,
        should_stop: Callable[[], bool],
        note: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        """Load nothing yet; `note` is told what trainings decide by themselves."""
        self._names = names
        self._share = share
        self._should_stop = should_stop
        self._note = note
        self._device: torch.device = local_device(share.device)
        self._trainers: dict[int, Trainer] = {}
        self.residuals: dict[int, Mapping[str, Tensor]] = {}
        """What top-k left out of each participant's last update."""

    def num_examples(self, participant: int) -> int:
        """Return how many private examples a participant has."""
        return self._trainer(participant).num_examples

    def train(
        self,
        participant: int,
        base: Mapping[str, Tensor],
        *,
        version: int,
        plan: TrainingPlan,
        frozen: str | None,
    ) -> TrainedUpdate:
        """Train on a version, as the participant of that name would."""
        owed = self.residuals.get(participant)
        return self._trainer(participant).train(
            base, version=version, plan=plan, owed=owed, frozen=frozen
        )

    def _trainer(self, participant: int) -> Trainer:
        if participant not in self._trainers:
            self._trainers[participant] = self._load(participant)
        return self._trainers[participant]

    def _load(self, participant: int) -> Trainer:
        share, name = self._share, self._names[participant]
        task = build_task(
            ParticipantSettings.model_validate(
                {
                    "id": name,
                    "task": share.task,
                    "data": share.data,
                    "partition": share.partition,
                    "partition_index": participant,
                    "num_partitions": share.num_partitions,
                    "seed": share.seed,
                }
            )
        )
        task.execution = replace(
            task.execution,
            device=self._device,
            should_stop=self._should_stop,
            on_note=self._note,
        )
        trainer = Trainer(task, name, seed=share.seed)  # private tensors begin here
        if self._trainers:
            trainer.share_network(next(iter(self._trainers.values())))
        return trainer
