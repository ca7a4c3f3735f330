"""Built-in tasks on datasets that torchvision downloads: MNIST, Fashion-MNIST and CIFAR-10."""

import fcntl
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu
from torch.utils.data import TensorDataset

from fanfold.learning.errors import TaskError
from fanfold.learning.network import FederatedNet
from fanfold.learning.task import Task
from fanfold.learning.tracking import TrackedModule

BRIGHTEST = 255


class ImageTask(Task):
    """Ten classes of images with values in 0 .. 1, from one of torchvision's datasets.

    The dataset is read from `data_dir`, or without one from the folder `fanfold` in the user's
    cache. If it is missing there, it is downloaded.
    """

    dataset: ClassVar[Any]
    """A class of `torchvision.datasets` whose objects have `data` and `targets`."""

    @abstractmethod
    def images(self, data: Any) -> Tensor:
        """Return the dataset's raw bytes as [N, C, H, W], uint8."""

    def train_data(self) -> TensorDataset:
        """Return this participant's part of the training images."""
        source = self._load(train=True)
        labels = torch.as_tensor(source.targets)
        part = torch.tensor(self.part_of(labels.tolist()))
        # Select the part first: as floats, the whole dataset would take four times the memory.
        return TensorDataset(self.images(source.data)[part] / BRIGHTEST, labels[part])

    def test_data(self) -> TensorDataset:
        """Return the test images."""
        source = self._load(train=False)
        labels = torch.as_tensor(source.targets)
        return TensorDataset(self.images(source.data) / BRIGHTEST, labels)

    def _load(self, *, train: bool) -> Any:
        name = self.dataset.__name__
        folder = self.data_dir or _cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Several participants may start at once on one machine; only the first one downloads.
            with (folder / f".{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return self.dataset(folder, train=train, download=True)
        except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
            # torchvision checks the format of its files with assertions.
            reason = " ".join(str(error).split()) or "the files are damaged"
            raise TaskError(
                f"{name} could not be read from {folder} nor downloaded into it: {reason}; "
                "connect this machine, put the files there, or use the task digits"
            ) from error


class Mnist(ImageTask):
    """Handwritten digits of 1x28x28, 60,000 for training and 10,000 for testing."""

    dataset = torchvision.datasets.MNIST

    def network(self) -> FederatedNet:
        """Return the default network."""
        return FederatedNet()

    def images(self, data: Tensor) -> Tensor:
        """Return [N, 1, 28, 28] from torchvision's [N, 28, 28]."""
        return data[:, None]


class FashionMnist(Mnist):
    """Pieces of clothing, in the same format as MNIST."""

    dataset = torchvision.datasets.FashionMNIST


class Cifar10(ImageTask):
    """Colour photographs of 3x32x32, 50,000 for training and 10,000 for testing."""

    dataset = torchvision.datasets.CIFAR10

    def network(self) -> nn.Module:
        """Return a small convolutional network."""
        return ColourNet()

    def images(self, data: Any) -> Tensor:
        """Return [N, 3, 32, 32] from torchvision's numpy array [N, 32, 32, 3]."""
        return torch.from_numpy(data).permute(0, 3, 1, 2)


class ColourNet(TrackedModule):
    """Three convolutions and two linear layers for images of 3x32x32: 620,362 parameters.

    Shape:
        [N, 3, 32, 32] -> [N, 10], float.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.linear1 = nn.Linear(128 * 4 * 4, 256)
        self.linear2 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores (logits) of the ten classes."""
        hidden = max_pool2d(relu(self.conv1(images)), 2)  # [N, 32, 16, 16]
        hidden = max_pool2d(relu(self.conv2(hidden)), 2)  # [N, 64, 8, 8]
        hidden = max_pool2d(relu(self.conv3(hidden)), 2)  # [N, 128, 4, 4]
        scores: Tensor = self.linear2(relu(self.linear1(hidden.flatten(1))))
        return scores


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fanfold"
