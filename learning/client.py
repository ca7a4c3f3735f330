"""One participant without any messaging: give it parameters, get trained ones back."""

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from fanfold.learning.batches import dataset_length, resident
from fanfold.learning.building import build_network
from fanfold.learning.device import local_device
from fanfold.learning.measures import Metrics
from fanfold.learning.network import FederatedNet
from fanfold.learning.parameters import (
    LayerParameters,
    flatten,
    nest,
    replace_tensors,
    shared_tensors,
)
from fanfold.learning.plan import TrainingPlan
from fanfold.learning.seeding import seeded, training_seed
from fanfold.learning.task import Task

logger = logging.getLogger(__name__)


class Client:
    """Trains on one participant's private data, version after version.

    The network is kept between versions, and with it whatever the task does not share. Usable
    alone, as in a loop in memory; the participant service feeds it from the broker.

    Args:
        client_id: The participant's id; its randomness follows from it.
        dataset: The private data.
        task: Network, loss, metrics and training; `FederatedNet` as a classifier by default.
        plan: How to train, unless `train` is given another one.

    Attributes:
        network: What was trained last.
        history: Means over examples for each pass of the last training.

    Raises:
        TaskError: The dataset is empty.

    Example:
        >>> client = Client("alice", dataset)
        >>> parameters = client.train(FederatedNet().get_parameters())
        >>> sorted(client.history[-1])
        ['accuracy', 'loss']
    """

    def __init__(
        self,
        client_id: str,
        dataset: Dataset[Any],
        *,
        task: Task | None = None,
        plan: TrainingPlan | None = None,
    ) -> None:
        self.client_id = client_id
        self.num_examples = dataset_length(dataset)
        self.task = task or _Classification(dataset)
        self.plan = plan or TrainingPlan()
        self.device = self.task.execution.device or local_device()
        self.dataset = resident(dataset, self.device, self.task.execution.resident_bytes)
        self.history: list[Metrics] = []
        self._version = 0
        with seeded(training_seed(self.plan.seed, 0, client_id)):  # private layers begin here
            self.network = build_network(self.task).to(self.device)

    def get_dataset_size(self) -> int:
        """The number of private examples: the weight of this participant."""
        return self.num_examples

    def get_client_id(self) -> str:
        """The participant's id."""
        return self.client_id

    def train(
        self,
        parameters: Mapping[str, Mapping[str, Tensor]],
        *,
        plan: TrainingPlan | None = None,
        base_version: int | None = None,
    ) -> LayerParameters:
        """Trains from the given parameters.

        Args:
            parameters: Layer -> {weight, bias, ...}; those missing stay as they are here.
            plan: In place of the client's own.
            base_version: The version of `parameters`, for the seed; counted from 0 call by call by
                default.

        Returns:
            Copies of the shared tensors after training, nested like `parameters`.

        Raises:
            TensorsError: The parameters do not fit the network; nothing has changed.
            TrainingAbandoned: The task's execution was told to stop.
        """
        plan = plan or self.plan
        version = self._version if base_version is None else base_version
        shared = shared_tensors(self.network, self.task.shared)
        replace_tensors(shared, flatten(parameters))
        with seeded(training_seed(plan.seed, version, self.client_id), plan.threads):
            self.history = self.task.fit(self.network, self.dataset, plan)
        self._version = version + 1
        last = self.history[-1] if self.history else {}
        logger.info("trained participant=%s version=%d metrics=%s", self.client_id, version, last)
        return nest({name: tensor.clone() for name, tensor in shared.items()})


class _Classification(Task):
    """The default network on data that is there already."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        super().__init__()
        self._dataset = dataset

    def network(self) -> nn.Module:
        return FederatedNet()

    def train_data(self) -> Dataset[Any]:
        return self._dataset
