"""A network of real size on images of CIFAR-10's shape: ResNet-18, 45 MB, with batch norm."""

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.models import resnet18

from fanfold.learning import Task


class ResNet18(Task):
    """torchvision's ResNet-18; every participant has sixteen images of its own."""

    def network(self) -> nn.Module:
        """Return the network, for ten classes."""
        return resnet18(num_classes=10)

    def train_data(self) -> Dataset[Any]:
        """Return sixteen images [3, 32, 32] each, brighter with each participant's index."""
        generator = torch.Generator().manual_seed(self.partition_index)
        images = self.partition_index + torch.rand(16, 3, 32, 32, generator=generator)
        return TensorDataset(images, torch.arange(16) % 10)
