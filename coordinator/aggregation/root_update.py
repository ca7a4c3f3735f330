"""What the coordinator's own data make of a version: the root update of `fltrust`."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.initial_model import initial_network
from fanfold.learning import (
    Task,
    TrainingPlan,
    named_tensors,
    read_data,
    replace_tensors,
    seeded,
    shared_tensors,
    training_seed,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import TrainingPlan as PlanMessage

NAME = "coordinator"
"""In the seed of its trainings, where a participant's id stands."""


class RootUpdate(Protocol):
    """Trains a version on trusted data."""

    def __call__(self, version: int, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the deltas of floating parameters and buffers.

        Args:
            version: the version's number, from which the seed follows.
            tensors: its global tensors by name, on the CPU; not changed.
        """
        ...


class RootTrainer:
    """Trains on the held-out data of the task, as participants train on theirs.

    Belongs to the coordinator's work thread, which waits for each training: once in a round.
    """

    def __init__(self, task: Task, plan: Callable[[int], PlanMessage]) -> None:
        """Load the data, and build a network; train each version as its plan says.

        Args:
            task: brings network and data.
            plan: gives the plan of a version, which holds the run's seed.

        Raises:
            InvalidInputError: if the task has no held-out data, or tensors that stay private.
        """
        self._task = task
        self._plan = plan
        self._seed = plan(0).seed
        self._network = initial_network(task, self._seed)
        if task.execution.device is not None:
            self._network.to(task.execution.device)
        shared = shared_tensors(self._network, task.shared)
        is_whole = len(shared) == len(named_tensors(self._network))
        self._data: Any = read_data(task, task.test_data) if is_whole else None
        if self._data is None:
            raise InvalidInputError(
                "--aggregator fltrust trains on the coordinator's own data, and the task has no "
                "held-out data for it, or tensors that stay private; give it `test_data`, or "
                "choose another aggregator"
            )

    def __call__(self, version: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Train one version."""
        shared = shared_tensors(self._network, self._task.shared)
        base = {name: each.to(shared[name].dtype) for name, each in tensors.items()}
        replace_tensors(shared, base)
        with seeded(training_seed(self._seed, version, NAME)):
            plan = TrainingPlan(**self._plan(version).model_dump())
            self._task.choose_lora(self._network, plan)
            self._task.fit(self._network, self._data, plan)
        after = shared_tensors(self._network, self._task.shared)
        return {
            name: torch.sub(after[name].cpu(), here)
            for name, here in base.items()
            if here.is_floating_point()
        }
