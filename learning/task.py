"""What a user brings: one class with a network and the private data it learns from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from fanfold.learning import training
from fanfold.learning.errors import TaskError
from fanfold.learning.example_privacy import ExamplePrivacy
from fanfold.learning.execution import PLAIN, Execution
from fanfold.learning.measures import Measure, Measured, Metrics, accuracy
from fanfold.learning.optimizers import local_optimizer
from fanfold.learning.parameters import EVERYTHING
from fanfold.learning.partition import Partition
from fanfold.learning.plan import TrainingPlan


class Task(ABC):
    """A network, private data, and how one learns from the other.

    Only `network` and `train_data` must be written. Every participant builds its own task, and so
    does the coordinator, which only asks for the network and the held-out data. All arguments have
    defaults and are given by name.

    Args:
        data_dir: Folder with the data, if the task reads any.
        partition_index: Which participant this is among `num_partitions`, from 0; for experiments
            in which several participants divide one dataset. A task whose data is private by itself
            ignores it.
        num_partitions: How many parts there are.
        seed: The run's seed; decides the partition.
        partition: "iid", "shards" or "dirichlet:ALPHA"; see `Partition`. Passed only where somebody
            asked for another one than "iid", so that a task with an `__init__` of its own may leave
            it out.

    Attributes:
        shared: Patterns over tensor names that say what takes part in federation; the rest stays
            private and local. See `fanfold.learning.parameters.shared_tensors`.
        execution: Device, speed, request to stop and reports of progress. The participant sets it
            before it calls `fit` or `evaluate`; a `fit` of the user's own should follow it.
        example_privacy: Rules of DP-SGD, set by a participant that chose it; None trains plainly.

    Raises:
        TaskError: The arguments contradict each other, or `data_dir` is no folder.
    """

    shared: Sequence[str] = EVERYTHING
    execution: Execution = PLAIN
    example_privacy: ExamplePrivacy | None = None

    def __init__(
        self,
        data_dir: str | Path | None = None,
        partition_index: int = 0,
        num_partitions: int = 1,
        seed: int = 0,
        *,
        partition: str = "iid",
    ) -> None:
        if not 0 <= partition_index < num_partitions:
            raise TaskError(
                f"there is no part {partition_index} of {num_partitions}; parts count from 0"
            )
        if data_dir is not None and not (str(data_dir) and Path(data_dir).is_dir()):
            raise TaskError(f"the data folder {str(data_dir)!r} is not a folder")
        self.data_dir = None if data_dir is None else Path(data_dir)
        self.partition_index = partition_index
        self.num_partitions = num_partitions
        self.seed = seed
        self.partition = Partition.parse(partition)

    @abstractmethod
    def network(self) -> nn.Module:
        """A new network; every call gives the same layers."""

    @abstractmethod
    def train_data(self) -> Dataset[Any]:
        """The private data of this participant: map-style, of (inputs, targets)."""

    def test_data(self) -> Dataset[Any] | None:
        """Held-out data with which the coordinator evaluates; None where there is none."""
        return None

    def validation_data(self) -> Dataset[Any] | None:
        """Private data with which the participant evaluates what it receives, if there is any."""
        return None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training minimises: the mean over the batch, 0-dim. Cross-entropy by default."""
        return cross_entropy(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What else is measured, by name: 0-dim tensors, each a mean over the batch.

        Means of batches are weighted by their number of examples, which makes them means over
        examples. By default the accuracy, where the outputs are [N, classes, ...] and the targets
        integers [N, ...].
        """
        if outputs.dim() != targets.dim() + 1 or targets.is_floating_point():
            return {}
        return {"accuracy": accuracy(outputs, targets)}

    def process_batch(self, network: nn.Module, batch: Any) -> Measured:
        """Runs one batch: (loss, metrics). Override it where a batch is no (inputs, targets)."""
        inputs, targets = batch
        outputs = network(inputs)
        return self.loss(outputs, targets), self.metrics(outputs, targets)

    def fit(self, network: nn.Module, data: Dataset[Any], plan: TrainingPlan) -> list[Metrics]:
        """Trains the network in place; returns means over examples for each pass, with "loss".

        Randomness comes from torch's default generators, which the participant seeds before (see
        `seeded`).
        """
        train = training.train
        if self.example_privacy is not None:
            from fanfold.learning import dp_sgd  # noqa: PLC0415 - opacus is optional

            train = partial(dp_sgd.train, privacy=self.example_privacy)
        return train(
            network,
            data,
            self._measure(network),
            epochs=plan.epochs,
            lr=plan.lr,
            batch_size=plan.batch_size,
            opt=local_optimizer(plan.optimizer, plan.momentum),
            steps=plan.steps,
            proximal_mu=plan.proximal_mu,
            execution=self.execution,
        )

    def evaluate(self, network: nn.Module, data: Dataset[Any]) -> Metrics:
        """Means over examples, "loss" among them, without gradients."""
        measure = self._measure(network)
        return training.measure_all(
            network, data, measure, batch_size=128, execution=self.execution
        )

    def part_of(self, labels: Sequence[int]) -> list[int]:
        """Indices of this participant's examples in a dataset with these labels."""
        parts = self.partition.divide(labels, self.num_partitions, self.seed)
        return parts[self.partition_index]

    def _measure(self, network: nn.Module) -> Measure:
        return lambda batch: self.process_batch(network, batch)
