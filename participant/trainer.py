"""From a version to an update: apply, train, subtract. No broker, no threads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from fanfold.learning import (
    LearningError,
    Task,
    TrainingPlan,
    build_network,
    complex_names,
    dataset_length,
    metrics_of,
    named_tensors,
    passes_of,
    read_data,
    resident,
    seeded,
    stage,
    tied_names,
    training_seed,
)
from fanfold.participant.frozen_part import FrozenPart
from fanfold.participant.shared_part import SharedPart
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
    steps: int | None = None
    """Of the local optimizer; None where the task trains in a way of its own and tells none."""


class Trainer:
    """Trains one network on one participant's private data, version after version.

    Tensors that are not shared stay as this participant's training left them.

    Args:
        task: the network, the data and the loss; the data are loaded at once.
        participant: the id; decides with `seed` how private tensors begin.
        seed: of this participant.

    Raises:
        TaskError: if there is no data, or it cannot be read.
        LearningError: if the task cannot be trained with the privacy it was given.
    """

    def __init__(self, task: Task, participant: str, *, seed: int = 0) -> None:
        self._task = task
        self._participant = participant
        with seeded(training_seed(seed, 0, participant)):
            self.network = build_network(task)
        self._data: Any = read_data(task, task.train_data)
        self._validation: Any = read_data(task, task.validation_data)
        if task.example_privacy is not None:
            self._check_dp_sgd()
        self.num_examples = dataset_length(self._data)
        self.frozen_part = FrozenPart(task, self.network)
        self.shared_part = SharedPart(self.network, task.shared)
        device, limit_bytes = task.execution.device, task.execution.resident_bytes
        if device is not None:
            with stage(f"moving the network to {device}"):
                self.network.to(device)
            # Another `fit` may ask for more than examples; a `collate` takes one after the other.
            if type(task).fit is Task.fit and type(task).collate is Task.collate:
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
    def num_validation_examples(self) -> int | None:
        """How many examples a version is measured on before it is trained; None without any."""
        return None if self._validation is None else dataset_length(self._validation)

    @property
    def private_tensors(self) -> dict[str, Tensor]:
        """What stays here: everything that is not shared. Live, detached."""
        return self.shared_part.others()

    def train(
        self,
        base: Mapping[str, Tensor],
        *,
        version: int,
        plan: PlanMessage,
        owed: Mapping[str, Tensor] | None = None,
        frozen: str | None = None,
        room: Mapping[str, Tensor] | None = None,
    ) -> TrainedUpdate:
        """Train on a version and return what changed.

        Args:
            base: the version's tensors by name, on the CPU; not changed, but for those that lie in
                `room`.
            version: its number, from which the seed follows.
            plan: the coordinator's wishes.
            owed: what a lossy encoding left out of earlier updates; training begins `AHEAD` of it
                beyond the version.
            frozen: digest of the parameters that do not come with the version, because everybody
                has them from the task.
            room: tensors of an earlier update that nobody needs any more, whose memory this one may
                take.

        Returns:
            For each shared tensor that trains: a floating parameter's delta, after minus before; a
            buffer's value.

        Raises:
            InvalidInputError: if the version is not one of this task's network.
            TrainingAbandoned: if the task was told to stop.
        """
        began = monotonic()
        local_plan = TrainingPlan(**plan.model_dump())
        self._task.choose_lora(self.network, local_plan)
        if frozen is not None:
            missing = sorted(self.shared_part.tensors().keys() - base.keys())
            self.frozen_part.take(missing, frozen, plan.seed)
        self.shared_part.put(base, is_whole=frozen is None)
        metrics: Mapping[str, float] = {}
        if self._validation is not None:
            with stage("measuring the version"):
                metrics = metrics_of(self._task.evaluate(self.network, self._validation))
        if owed:
            base = _ahead(base, owed)
            self.shared_part.put(base, is_whole=frozen is None)
        with (
            seeded(training_seed(plan.seed, version, self._participant), plan.threads),
            self.frozen_part.untouched(),
            self._counting() as counted,
            stage("training"),
        ):
            history = self._task.fit(self.network, self._data, local_plan)
        tensors, kinds = self.shared_part.changes(base, self._task.execution.note, room=room)
        return TrainedUpdate(
            tensors=tensors,
            kinds=kinds,
            num_examples=self.num_examples,
            metrics=metrics,
            history=passes_of(history),
            seconds=monotonic() - began,
            steps=counted[0] or None,
        )

    def share_network(self, other: "Trainer") -> None:
        """Train the other's network in place of one's own, where both have the same tensors.

        For trainers of which only one is at work, and whose tensors are all shared.
        """
        if self.shared_part.form == other.shared_part.form and not self.private_tensors:
            self.network = other.network
            self.shared_part, self.frozen_part = other.shared_part, other.frozen_part

    @contextmanager
    def _counting(self) -> Iterator[list[int]]:
        """Count the steps of a training, beside whoever else hears of them."""
        execution, counted = self._task.execution, [0]

        def count(step: int, steps: int, loss: Tensor) -> None:
            counted[0] = step
            if execution.on_step is not None:
                execution.on_step(step, steps, loss)

        self._task.execution = replace(execution, on_step=count)
        try:
            yield counted
        finally:
            self._task.execution = execution

    def state_with(self, shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's state with these shared tensors, copied to the CPU.

        Under the names and in the dtypes of `load_state_dict`; what does not travel is this
        participant's own.

        Raises:
            InvalidInputError: if they are of another network.
        """
        self.shared_part.put(shared, is_whole=False)
        real_pairs = complex_names(self.network)
        state = {
            name: torch.view_as_complex(copied) if name in real_pairs else copied
            for name, tensor in named_tensors(self.network).items()
            for copied in (tensor.detach().to("cpu", copy=True),)
        }
        tied = tied_names(self.network)
        return state | {name: state[first] for name, first in tied.items() if first in state}


def _ahead(base: Mapping[str, Tensor], owed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.add(owed[name], alpha=AHEAD) if name in owed else tensor
        for name, tensor in base.items()
    }
