"""The network that softmax.js trains, as the coordinator and Python's participants see it.

fanfold coordinator --task softmax:Softmax --federation foreign
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.learning import Task
from fanfold.learning.digits import DARKEST, NUM_TRAIN, read_idx


def digits() -> TensorDataset:
    """All 1,797 images as 64 pixels in 0 .. 1, float32, and their labels, int64."""
    images = read_idx("images.idx3-ubyte.gz").reshape(-1, 64) / DARKEST
    return TensorDataset(images, read_idx("labels.idx1-ubyte.gz").long())


class Softmax(Task):
    """A linear layer behind a normalisation, whose statistics travel as values."""

    def network(self) -> nn.Module:
        """64 pixels, 10 classes; it begins with zeros."""
        linear = nn.Linear(64, 10)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.BatchNorm1d(64, eps=0.01, affine=False), linear)

    def train_data(self) -> TensorDataset:
        """This participant's share."""
        images, labels = digits().tensors
        mine = torch.tensor(self.part_of(labels[:NUM_TRAIN].tolist()))
        return TensorDataset(images[mine], labels[mine])

    def test_data(self) -> TensorDataset:
        """Held out: the coordinator evaluates every version on it."""
        images, labels = digits().tensors
        return TensorDataset(images[NUM_TRAIN:], labels[NUM_TRAIN:])
