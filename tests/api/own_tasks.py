"""A small task that other processes can import."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import fanfold

FEATURES = 4


def points(seed: int) -> TensorDataset:
    """Return 64 points and on which side of a plane each is."""
    inputs = torch.randn(64, FEATURES, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs[:, 0] > 0).long())


class Sides(fanfold.Task):
    """Tells two sides of a plane apart."""

    def network(self) -> nn.Module:
        return nn.Linear(FEATURES, 2)

    def train_data(self) -> TensorDataset:
        return points(self.partition_index)

    def test_data(self) -> TensorDataset:
        return points(1000)
