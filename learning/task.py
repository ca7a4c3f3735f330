"""What a user brings: one class with a network and the private data it learns from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from torch.utils.data import BatchSampler, Dataset, Sampler, default_collate

from fanfold.learning import outputs as network_outputs
from fanfold.learning import training
from fanfold.learning.adapter import Adapter
from fanfold.learning.collation import Collate, Loading, batch_length
from fanfold.learning.errors import TaskError
from fanfold.learning.example_privacy import ExamplePrivacy
from fanfold.learning.execution import PLAIN, Execution
from fanfold.learning.measures import Measure, Measured, Metrics, accuracy
from fanfold.learning.optimizers import local_optimizer
from fanfold.learning.parameters import EVERYTHING
from fanfold.learning.partition import Partition
from fanfold.learning.plan import TrainingPlan
from fanfold.learning.whole_metrics import WholeMetric, computed


class Task(ABC):
    """A network, private data, and the training of the network on the data.

    Only `network` and `train_data` have to be written. Every participant makes its own task. The
    coordinator makes one too, but only asks it for the network and the held-out data. All arguments
    have defaults and are given by name.

    Args:
        data_dir: folder with the data, if the task reads any.
        partition_index: which participant this is among `num_partitions`, from 0; for experiments
            in which several participants divide one dataset. A task that reads a participant's own
            data ignores it.
        num_partitions: how many parts the dataset is divided into.
        seed: the run's seed, from which the partition follows.
        partition: "iid", "shards" or "dirichlet:ALPHA"; see `Partition`. Passed only if it is not
            "iid", so that a task with an `__init__` of its own may leave it out.

    Attributes:
        shared: patterns over tensor names; tensors they choose take part in federation, the others
            never leave the participant. See `fanfold.learning.parameters.shared_tensors`.
        execution: device, speed, request to stop and reports of progress. The participant sets it
            before it calls `fit` or `evaluate`; a user's own `fit` should use it.
        example_privacy: settings of DP-SGD, set by a participant that uses it; None trains
            without it.
        evaluation_batch_size: examples in a batch of an evaluation.

    Raises:
        TaskError: if the arguments contradict each other, or `data_dir` is no folder.
    """

    shared: Sequence[str] = EVERYTHING
    execution: Execution = PLAIN
    example_privacy: ExamplePrivacy | None = None
    evaluation_batch_size: int = 128
    _observing: Mapping[str, WholeMetric] = MappingProxyType({})

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
        """Return a new network; every call returns the same layers."""

    @abstractmethod
    def train_data(self) -> Dataset[Any]:
        """Return this participant's private data: a map-style dataset of (inputs, targets)."""

    def test_data(self) -> Dataset[Any] | None:
        """Return held-out data with which the coordinator evaluates; None if there is none."""
        return None

    def validation_data(self) -> Dataset[Any] | None:
        """Return private data with which the participant evaluates each version; None for none."""
        return None

    def collate(self, examples: list[Any]) -> Any:
        """Make a batch of a list of examples, for instance of sentences of different length.

        The default is torch's `default_collate`, for examples whose tensors all have one shape.
        """
        return default_collate(examples)

    def sampler(self, data: Dataset[Any]) -> Sampler[Any] | BatchSampler | None:
        """Return a sampler that chooses the examples of a pass and their order.

        With None, the default, a pass holds all examples in random order. A `BatchSampler` also
        forms the batches, and the plan's batch size then has no effect.
        """
        del data
        return None

    def batch_length(self, batch: Any) -> int:
        """Return the number of examples in a batch, which weighs it in means over examples.

        The default is the first dimension of the first tensor that has one.
        """
        return batch_length(batch)

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the loss that training minimises, by default cross-entropy.

        A 0-dim tensor, the mean over the examples of the batch. Outputs may be a tuple or have
        names: see `main_output`.
        """
        return network_outputs.classification_loss(outputs, targets)

    def metrics(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return metrics by name: 0-dim tensors, each a mean over the examples of the batch.

        Over a pass, each batch counts with its number of examples, so the results are means over
        examples. The default is the accuracy, if the main output is [N, classes, ...] and the
        targets are integers [N, ...].
        """
        if not isinstance(targets, Tensor) or targets.is_floating_point():
            return {}
        scores = network_outputs.main_output(outputs)
        has_classes = scores.dim() == targets.dim() + 1
        if not has_classes or scores.shape[:1] + scores.shape[2:] != targets.shape:
            return {}
        return {"accuracy": accuracy(scores, targets)}

    def evaluation_metrics(self) -> Mapping[str, WholeMetric]:
        """Return metrics by name that are no means over batches, such as AUC, F1 or the c-index.

        They are updated with the main output and the targets of every batch of an evaluation and
        computed at its end: objects of torchmetrics, `OverAll(function)`, or any `WholeMetric`.
        """
        return {}

    def observe(self, outputs: Any, targets: Any) -> None:
        """Update the `evaluation_metrics` with a batch; does nothing outside an evaluation.

        The default `process_batch` calls it; one of your own has to.
        """
        for metric in self._observing.values():
            metric.update(outputs.detach(), targets)

    def process_batch(self, network: nn.Module, batch: Any) -> Measured:
        """Run one batch and return (loss, metrics).

        By default a batch is (inputs, targets), or a dict with `labels` whose other values are
        passed to the network by name; override it for any other batch. If the network computes a
        loss itself and `loss` is not overridden, the network's loss is used.
        """
        inputs, targets = network_outputs.divide_batch(batch)
        outputs = network_outputs.run_network(network, inputs)
        loss = network_outputs.own_loss(outputs) if type(self).loss is Task.loss else None
        if loss is None:
            loss = self.loss(outputs, targets)
        if self._observing:
            self.observe(network_outputs.main_output(outputs), targets)
        return loss, self.metrics(outputs, targets)

    def fit(self, network: nn.Module, data: Dataset[Any], plan: TrainingPlan) -> list[Metrics]:
        """Train the network in place and return the metrics of each pass, among them "loss".

        Metrics are means over examples. Randomness comes from torch's default generators, which the
        participant has seeded (see `seeded`).
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
            loading=Loading(self._own_collate(), self.sampler(data)),
            length_of=self.batch_length,
        )

    def evaluate(self, network: nn.Module, data: Dataset[Any]) -> Metrics:
        """Evaluate without gradients; return means over examples and `evaluation_metrics`."""
        observing = dict(self.evaluation_metrics())
        for metric in observing.values():
            metric.reset()
            if self.execution.device is not None and callable(move := getattr(metric, "to", None)):
                move(self.execution.device)
        self._observing = observing
        try:
            means = training.measure_all(
                network,
                data,
                self._measure(network),
                batch_size=self.evaluation_batch_size,
                execution=self.execution,
                loading=Loading(self._own_collate()),
                length_of=self.batch_length,
            )
            return means | computed(observing)
        finally:
            self._observing = {}

    def adapter(self, network: nn.Module) -> Adapter | None:
        """Return the adapter in a network of this task; None, the default, if it tunes none.

        Where there is one, a run's files hold it without the base, which everybody has.
        """
        del network
        return None

    def choose_lora(self, network: nn.Module, plan: TrainingPlan) -> None:
        """Let the matrices of the network's adapter train that the plan names, if it has one."""
        adapter = self.adapter(network)
        if adapter is not None:
            adapter.train(plan.lora or "B")

    def part_of(self, labels: Sequence[int]) -> list[int]:
        """Return the indices of this participant's examples in a dataset with these labels."""
        parts = self.partition.divide(labels, self.num_partitions, self.seed)
        return parts[self.partition_index]

    def _own_collate(self) -> Collate | None:
        return None if type(self).collate is Task.collate else self.collate

    def _measure(self, network: nn.Module) -> Measure:
        return lambda batch: self.process_batch(network, batch)
