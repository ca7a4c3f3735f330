"""A task of your own: only a network and private data have to be written.

fanfold local --task examples.own_task.small_digits:SmallDigits --rounds 30
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold import Digits, Task


class SmallDigits(Task):
    """Handwritten digits, with a small network that trains fast."""

    def network(self) -> nn.Module:
        """Return a network of 28x28 pixels, 32 hidden units and 10 classes."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    def train_data(self) -> TensorDataset:
        """Return this participant's share; a real task reads its data from `self.data_dir`."""
        images, labels = Digits().train_data().tensors
        mine = torch.tensor(self.part_of(labels.tolist()))
        return TensorDataset(images[mine], labels[mine])

    def test_data(self) -> TensorDataset:
        """Return held-out images, on which the coordinator evaluates every version."""
        return Digits().test_data()
