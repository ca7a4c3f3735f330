"""Tasks that train nothing, so that a round costs only what federating costs.

There is a class for each number of values, because the command line names a task by its class.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from fanfold.learning import FederatedNet, Task, TrainingPlan


class Identity(Task):
    """Local training returns at once: every update is a delta of zeros, of the full size."""

    shapes: tuple[tuple[int, ...], ...] = ()

    def network(self) -> nn.Module:
        """Return a network that consists of parameters of these shapes."""
        return _Parameters(self.shapes)

    def train_data(self) -> Dataset[Any]:
        """Return ten examples that are not used."""
        return TensorDataset(torch.zeros(10, 1), torch.zeros(10, dtype=torch.int64))

    def fit(self, network: nn.Module, data: Dataset[Any], plan: TrainingPlan) -> list[Any]:
        """Leave the network unchanged."""
        del network, data, plan
        return []


class Small(Identity):
    """The article's network: 65,850 values, 263 kB."""

    def network(self) -> nn.Module:
        """Return the default network."""
        return FederatedNet()


class Large(Identity):
    """25,000,000 values, 100 MB."""

    shapes = ((2500, 2500),) * 4


class Huge(Identity):
    """250,000,000 values, 1 GB."""

    shapes = ((2500, 2500),) * 40


class _Parameters(nn.Module):
    def __init__(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        # Not zeros: untouched pages and runs of zeros are cheaper to handle than real parameters.
        self.values = nn.ParameterList(nn.Parameter(torch.rand(shape)) for shape in shapes)

    def forward(self, _inputs: Tensor) -> Tensor:
        raise NotImplementedError("this network is only sent and never run")
