"""One participant without messaging: it takes parameters and returns trained ones."""

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

    The network is kept between versions, and with it the tensors that the task does not share. It
    can be used alone, for example in a loop in one process; the participant service calls it with
    the versions that arrive from the broker.

    Args:
        client_id: the participant's id; part of the seed of every training.
        dataset: the private data.
        task: network, loss, metrics and training; `FederatedNet` as a classifier by default.
        plan: how to train, unless `train` is given another one.

    Attributes:
        network: the network, as the last training left it.
        history: metrics of each pass of the last training, as means over examples.

    Raises:
        TaskError: if the dataset is empty.

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
        self.dataset = dataset
        if type(self.task).collate is Task.collate:  # another one takes example after example
            self.dataset = resident(dataset, self.device, self.task.execution.resident_bytes)
        self.history: list[Metrics] = []
        self._version = 0
        with seeded(training_seed(self.plan.seed, 0, client_id)):  # initialises private layers
            self.network = build_network(self.task).to(self.device)

    def get_dataset_size(self) -> int:
        """Return the number of private examples: the weight of this participant."""
        return self.num_examples

    def get_client_id(self) -> str:
        """Return the participant's id."""
        return self.client_id

    def train(
        self,
        parameters: Mapping[str, Mapping[str, Tensor]],
        *,
        plan: TrainingPlan | None = None,
        base_version: int | None = None,
    ) -> LayerParameters:
        """Train from the given parameters.

        Args:
            parameters: layer -> {weight, bias, ...}; a tensor that is missing keeps the value it
                has in the network.
            plan: used instead of the client's own.
            base_version: the version of `parameters`, which is part of the seed. By default it is
                0 in the first call and one more in each call after it.

        Returns:
            Copies of the shared tensors after training, nested like `parameters`.

        Raises:
            TensorsError: if the parameters do not fit the network; nothing has changed.
            TrainingAbandoned: if the task's execution was told to stop.
        """
        plan = plan or self.plan
        version = self._version if base_version is None else base_version
        shared = shared_tensors(self.network, self.task.shared)
        replace_tensors(shared, flatten(parameters))
        with seeded(training_seed(plan.seed, version, self.client_id), plan.threads):
            self.task.choose_lora(self.network, plan)
            self.history = self.task.fit(self.network, self.dataset, plan)
        self._version = version + 1
        last = self.history[-1] if self.history else {}
        logger.info("trained participant=%s version=%d metrics=%s", self.client_id, version, last)
        return nest({name: tensor.clone() for name, tensor in shared.items()})


class _Classification(Task):
    """Classification with the default network, on a dataset that is given."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        super().__init__()
        self._dataset = dataset

    def network(self) -> nn.Module:
        return FederatedNet()

    def train_data(self) -> Dataset[Any]:
        return self._dataset
