"""From a version to an update: apply, train, subtract. No broker, no threads."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from fanfold.learning import (
    LearningError,
    Task,
    TensorsError,
    TrainingPlan,
    dataset_length,
    named_tensors,
    reading,
    replace_tensors,
    resident,
    seeded,
    shared_tensors,
    training_seed,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import TrainingPlan as PlanMessage
from fanfold.schemas.tensor_table import Kind

AHEAD = 0.5
"""How much of what it still owes a participant trains ahead of the version.

Without it every training repeats the steps that top-k has held back, until what is owed is far too
much: digits in 24 rounds of `topk:0.01` then end between 10 and 96 %, and 95 to 97 % with half of
it. All of it would let participants drift apart. (Xu et al. 2021, Step-Ahead Error Feedback.)
"""


@dataclass(frozen=True, slots=True)
class TrainedUpdate:
    """What local training made of a version. Tensors are on the CPU."""

    tensors: Mapping[str, Tensor]
    kinds: Mapping[str, Kind]
    num_examples: int
    metrics: Mapping[str, float]
    """What the version was worth on this participant's validation data, if it has any."""
    history: list[dict[str, float]]
    """Means over examples for each pass of the training."""
    seconds: float


class Trainer:
    """Trains one network on one participant's private data, version after version.

    Tensors that are not shared stay as this participant's training left them.
    """

    def __init__(self, task: Task, participant: str, *, seed: int = 0) -> None:
        """Load the private data, and build the network.

        Its private tensors begin as `seed` and the participant's id decide.

        Raises:
            TaskError: if there is no data, or it cannot be read.
            LearningError: if the task cannot be trained with the privacy it was given.
        """
        self._task = task
        self._participant = participant
        with reading(task.data_dir):
            with seeded(training_seed(seed, 0, participant)):
                self.network = task.network()
            self._data: Any = task.train_data()
            self._validation: Any = task.validation_data()
        if task.example_privacy is not None:
            self._check_dp_sgd()
        self.num_examples = dataset_length(self._data)
        device, limit_bytes = task.execution.device, task.execution.resident_bytes
        if device is not None:
            self.network.to(device)
            if type(task).fit is Task.fit:  # another one may ask its dataset for more than examples
                self._data = resident(self._data, device, limit_bytes)

    def _check_dp_sgd(self) -> None:
        from fanfold.learning import dp_sgd  # noqa: PLC0415 - opacus is optional

        if type(self._task).fit is not Task.fit:
            raise LearningError(
                f"{type(self._task).__name__} trains in a way of its own (`fit`), which DP-SGD "
                "cannot guard; leave --dp-sgd-clip out"
            )
        dp_sgd.check(self.network)
        self._validation = None  # its exact metrics would travel with the update

    @property
    def private_tensors(self) -> dict[str, Tensor]:
        """What stays here: everything that is not shared. Live, detached."""
        shared = shared_tensors(self.network, self._task.shared)
        return {
            name: tensor
            for name, tensor in named_tensors(self.network).items()
            if name not in shared
        }

    def train(
        self,
        base: Mapping[str, Tensor],
        *,
        version: int,
        plan: PlanMessage,
        owed: Mapping[str, Tensor] | None = None,
    ) -> TrainedUpdate:
        """Train on a version and return what changed.

        Args:
            base: the version's tensors by name, on the CPU; not changed.
            version: its number, from which the seed follows.
            plan: the coordinator's wishes.
            owed: what a lossy encoding left out of earlier updates; training begins `AHEAD` of it
                beyond the version.

        Returns:
            For each shared tensor that trains: a floating parameter's delta, after minus before; a
            buffer's value.

        Raises:
            InvalidInputError: if the version is not one of this task's network.
            TrainingAbandoned: if the task was told to stop.
        """
        began = monotonic()
        self._apply(base)
        metrics: Mapping[str, float] = {}
        if self._validation is not None:
            metrics = self._task.evaluate(self.network, self._validation)
        if owed:
            base = _ahead(base, owed)
            self._apply(base)
        with seeded(training_seed(plan.seed, version, self._participant), plan.threads):
            history = self._task.fit(self.network, self._data, TrainingPlan(**plan.model_dump()))
        tensors, kinds = self._changes(base)
        return TrainedUpdate(
            tensors=tensors,
            kinds=kinds,
            num_examples=self.num_examples,
            metrics={name: float(value) for name, value in metrics.items()},
            history=[dict(entry) for entry in history],
            seconds=monotonic() - began,
        )

    def _apply(self, base: Mapping[str, Tensor]) -> None:
        shared = shared_tensors(self.network, self._task.shared)
        missing = sorted(shared.keys() - base.keys())
        problem = f"{', '.join(missing)} did not come with the version" if missing else ""
        try:
            replace_tensors(shared, base)
        except TensorsError as error:
            problem = str(error)
        if problem:
            raise InvalidInputError(
                f"the coordinator trains another network than this participant's task: {problem}; "
                "start both with the same --task"
            )

    def _changes(self, base: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Kind]]:
        parameters = dict(self.network.named_parameters(remove_duplicate=False))
        tensors: dict[str, Tensor] = {}
        kinds: dict[str, Kind] = {}
        for name, after in shared_tensors(self.network, self._task.shared).items():
            parameter = parameters.get(name)
            if parameter is not None and after.is_floating_point():
                if parameter.requires_grad:  # a frozen layer is a partial update: it is not sent
                    kinds[name] = "delta"
                    tensors[name] = torch.sub(after.cpu(), base[name])
            else:
                kinds[name] = "value"
                tensors[name] = after.cpu().clone()
        return tensors, kinds


def _ahead(base: Mapping[str, Tensor], owed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.add(owed[name], alpha=AHEAD) if name in owed else tensor
        for name, tensor in base.items()
    }
