"""The default task: 1,797 real handwritten digits, shipped with the package.

LICENSE beside this file names the authors of the data and its licence.
"""

import gzip
import struct
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import TensorDataset

from fanfold.learning.network import FederatedNet
from fanfold.learning.task import Task

NUM_TRAIN = 1437
"""The first 1,437 images are for training; the last 360 are held out (stratified by class)."""

DARKEST = 16


class Digits(Task):
    """Ten classes of 1x28x28 images with values in 0 .. 1; works without a network connection."""

    def network(self) -> FederatedNet:
        """Return the default network."""
        return FederatedNet()

    def train_data(self) -> TensorDataset:
        """Return this participant's part of the 1,437 training images."""
        images, labels = load_digits()
        part = torch.tensor(self.part_of(labels[:NUM_TRAIN].tolist()))
        return TensorDataset(images[part], labels[part])

    def test_data(self) -> TensorDataset:
        """Return the 360 held-out images."""
        images, labels = load_digits()
        return TensorDataset(images[NUM_TRAIN:], labels[NUM_TRAIN:])


@cache
def load_digits() -> tuple[Tensor, Tensor]:
    """Return images [1797, 1, 28, 28], float32 in 0 .. 1, and labels [1797], int64.

    The images are enlarged from 8x8.
    """
    small = read_idx("images.idx3-ubyte.gz")[:, None] / DARKEST
    images = interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    return images, read_idx("labels.idx1-ubyte.gz").long()


def read_idx(name: str) -> Tensor:
    """Read unsigned bytes in IDX, the format of MNIST: a big-endian header, then the values."""
    raw = bytearray(gzip.decompress(files(__name__).joinpath(name).read_bytes()))
    num_dimensions = raw[3]
    begin = 4 + 4 * num_dimensions
    shape = struct.unpack(f">{num_dimensions}I", raw[4:begin])
    return torch.frombuffer(raw, dtype=torch.uint8, offset=begin).reshape(shape)
