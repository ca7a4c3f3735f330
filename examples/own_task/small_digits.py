"""Your own task: a network, private data, and nothing else that has to be written.

fanfold local --task examples.own_task.small_digits:SmallDigits --rounds 30
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold import Digits, Task


class SmallDigits(Task):
    """Handwritten digits with a network that trains in a millisecond."""

    def network(self) -> nn.Module:
        """28x28 pixels, 32 hidden units, 10 classes."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    def train_data(self) -> TensorDataset:
        """This participant's share; a real one reads what lies in `self.data_dir`."""
        images, labels = Digits().train_data().tensors
        mine = torch.tensor(self.part_of(labels.tolist()))
        return TensorDataset(images[mine], labels[mine])

    def test_data(self) -> TensorDataset:
        """Held out: the coordinator evaluates every version on it."""
        return Digits().test_data()
