"""The simulated participants: each has its own data; they train one after the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fanfold.learning import TaskError, local_device
from fanfold.participant.assembly import build_task
from fanfold.participant.data_folders import share_of
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.schemas.messages import TrainingPlan


@dataclass(frozen=True, slots=True)
class Share:
    """The task, and how its data is divided among the participants.

    Attributes:
        task: its name.
        data: one folder, which is divided, or none; or several, each of which is one participant's.
        partition: how it is divided; so likewise the number of parts, and the seed.
    """

    task: str
    data: tuple[Path, ...]
    partition: str
    num_partitions: int
    seed: int
    device: str | None

    def of(self, participant: int) -> dict[str, Any]:
        """Return the settings of `ParticipantSettings` that say which data a participant has."""
        return share_of(
            participant,
            self.data,
            partition=self.partition,
            num_partitions=self.num_partitions,
        )


class Participants:
    """Trainers by participant, made when they are first needed.

    If a task shares all tensors, all participants use one network, because a version replaces all
    of it. If not, each has a network of its own, and memory grows with their number.
    """

    def __init__(
        self,
        names: list[str],
        share: Share,
        should_stop: Callable[[], bool],
        note: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        """Prepare, without loading data; `note` is called with remarks of trainings."""
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
                {"id": name, "task": share.task, "seed": share.seed, **share.of(participant)}
            )
        )
        task.execution = replace(
            task.execution,
            device=self._device,
            should_stop=self._should_stop,
            on_note=self._note,
        )
        trainer = Trainer(task, name, seed=share.seed)  # initialises private tensors
        others = self._trainers.values()
        if trainer.private_tensors and any(each.network is trainer.network for each in others):
            raise TaskError(
                f"`network` of {type(task).__name__} gives all participants one and the same "
                "network, and some of its tensors are private; let it build a new one each time"
            )
        if self._trainers:
            trainer.share_network(next(iter(self._trainers.values())))
        return trainer
