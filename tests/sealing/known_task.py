"""A task whose tensors, files and metrics can be looked for: 100 parameters with own names."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.federation.tiny_tasks import Tiny

NUM_TENSORS = 100
METRIC = "sensitivity_of_ward_nine"


def value(index: int) -> Tensor:
    """The tensor that parameter number `index` begins with: 16 values that nobody else has."""
    return torch.randn(16, generator=torch.Generator().manual_seed(1000 + index))


def name(index: int) -> str:
    return f"hidden_structure_{index:02d}"


class Known(Tiny):
    """`Tiny`, beside which 100 known tensors are trained."""

    def network(self) -> nn.Module:
        network = super().network()
        for index in range(NUM_TENSORS):
            network.register_parameter(name(index), nn.Parameter(value(index)))
        return network

    def validation_data(self) -> Dataset[Any] | None:
        return self.test_data()

    def evaluate(self, network: nn.Module, data: Dataset[Any]) -> Any:
        return {**super().evaluate(network, data), METRIC: 0.25}
