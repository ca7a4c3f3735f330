"""Two participants that disagree, one of them slow: where does asynchronous training end?"""

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold.learning import Task, TrainingPlan

SECONDS = (0.02, 0.35)
"""A training of each: with the way there and back, one is about ten times as fast."""


class Weight(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.weight - inputs


class TwoSlopes(Task):
    """Losses (w - 1)^2 / 2 and (w + 1)^2 / 2; as many examples of each."""

    num_examples = (1, 1)

    def network(self) -> nn.Module:
        return Weight()

    def train_data(self) -> TensorDataset:
        target = (1.0, -1.0)[self.partition_index]
        return TensorDataset(torch.full((self.num_examples[self.partition_index], 1), target))

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        time.sleep(SECONDS[self.partition_index])
        loss = network(data.tensors[0]).square().mean() / 2
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(parameter.grad, alpha=plan.lr)
                parameter.grad = None
        return [{"loss": float(loss.detach())}]


class ThreeToOne(TwoSlopes):
    """The slow one has three times as many examples."""

    num_examples = (1, 3)
