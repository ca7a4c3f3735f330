"""The network that softmax.js trains, for the coordinator and for participants in Python.

fanfold coordinator --task softmax:Softmax --federation foreign
"""

import gzip
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold import Task

FOLDER = Path(__file__).parents[2] / "learning" / "digits"
NUM_TRAIN = 1437


def digits() -> TensorDataset:
    """Return all 1,797 images as 64 pixels in 0 .. 1, float32, and their labels, int64."""
    images, labels = read("images.idx3", header=16), read("labels.idx1", header=8)
    return TensorDataset(images.reshape(-1, 64) / 16, labels.long())


def read(name: str, *, header: int) -> Tensor:
    """Return the bytes of a file after its header, uint8."""
    raw = gzip.decompress((FOLDER / f"{name}-ubyte.gz").read_bytes())
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header)


class Softmax(Task):
    """A normalisation, whose statistics are sent as values, and a linear layer after it."""

    def network(self) -> nn.Module:
        """Return a network for 64 pixels and 10 classes that starts from zeros."""
        linear = nn.Linear(64, 10)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.BatchNorm1d(64, eps=0.01, affine=False), linear)

    def train_data(self) -> TensorDataset:
        """Return this participant's share."""
        images, labels = digits().tensors
        mine = torch.tensor(self.part_of(labels[:NUM_TRAIN].tolist()))
        return TensorDataset(images[mine], labels[mine])

    def test_data(self) -> TensorDataset:
        """Return held-out images, on which the coordinator evaluates every version."""
        images, labels = digits().tensors
        return TensorDataset(images[NUM_TRAIN:], labels[NUM_TRAIN:])
