"""Networks whose tensors are odd; see `test_any_model`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.federation.any_networks import NUM_EXAMPLES, Body, Points


class Masked(Body):
    """With a mask of infinities, and the smallest value of each column seen so far."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([[0.0, float("-inf")], [float("nan"), 0.0]]))
        self.register_buffer("least", torch.full((4,), float("inf")))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.least = torch.minimum(self.least, inputs.detach().amin(0))
        return super().forward(inputs)


class NotFinite(Points):
    def network(self) -> nn.Module:
        return Masked()


class GrowingMask(Body):
    """With a mask that is made anew for the longest batch so far."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) > len(self.mask):
            self.mask = torch.ones(len(inputs), len(inputs)).tril()
        return super().forward(inputs) + 0 * self.mask.sum()


class Growing(Points):
    def network(self) -> nn.Module:
        return GrowingMask()


class RotaryTable(Body):
    """With a table that is no part of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(1), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        self.table = torch.arange(len(inputs)).cos()
        return super().forward(inputs)


class Cached(Points):
    def network(self) -> nn.Module:
        return RotaryTable()


class RawColumns(Points):
    """Batch normalisation right on columns of a scale of 1e6."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), super().network())

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(1e6 * inputs, targets)


class SharedMemory(Body):
    """With buffers that are expanded, or views of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("expanded", torch.ones(1).expand(4))
        self.register_buffer("whole", torch.arange(4.0))
        self.register_buffer("part", self.get_buffer("whole")[:2])

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs * self.get_buffer("expanded"))


class Sharing(Points):
    def network(self) -> nn.Module:
        return SharedMemory()


class Rotations(nn.Module):
    """A complex layer."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.ones(4, 2, dtype=torch.complex64))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.to(self.turn.dtype) @ self.turn).real


class InComplex128(Points):
    """As safetensors cannot write it: the file holds pairs of real numbers."""

    def network(self) -> nn.Module:
        network = Rotations()
        network.turn.data = network.turn.data.to(torch.complex128)
        return network


class Complex(Points):
    def network(self) -> nn.Module:
        return Rotations()


class Words(Points):
    """A bag of words, with gradients of only the words that are there."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.EmbeddingBag(10, 4, mode="sum", sparse=True), nn.Linear(4, 2))

    def all_data(self) -> TensorDataset:
        words = torch.arange(NUM_EXAMPLES * 3).reshape(-1, 3) % 10
        return TensorDataset(words, words[:, 0] % 2)


class InBfloat16(Points):
    def network(self) -> nn.Module:
        return super().network().bfloat16()

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs.bfloat16(), targets)


class InFloat16(Points):
    def network(self) -> nn.Module:
        return super().network().half()

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs.half(), targets)


class SomeInDouble(Points):
    """A participant trains in another precision than the coordinator's."""

    def network(self) -> nn.Module:
        network = super().network()
        return network.double() if self.partition_index else network

    def train_data(self) -> Any:
        inputs, targets = super().train_data().tensors
        return TensorDataset(inputs.double() if self.partition_index else inputs, targets)


class Dollars(Points):
    """LiveFederation prices, of which a model of five numbers learns the mean."""

    def network(self) -> nn.Module:
        network = nn.Linear(4, 1)
        nn.init.zeros_(network.weight)
        nn.init.zeros_(network.bias)
        return network

    def all_data(self) -> TensorDataset:
        inputs, _ = super().all_data().tensors
        return TensorDataset(inputs, 250_000 + 20_000 * inputs.sum(1, keepdim=True))

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        return nn.functional.mse_loss(outputs, targets)


class OddBuffers(Body):
    """Of booleans, bytes, eight bits, complex numbers, none and nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("chosen", torch.tensor([True, False, True, True]))
        self.register_buffer("bytes", torch.tensor([3, 255], dtype=torch.uint8))
        self.register_buffer("eighth", torch.ones(4).to(torch.float8_e4m3fn))
        self.register_buffer("turns", torch.polar(torch.ones(4), torch.arange(4.0)))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("missing", None)

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs * self.get_buffer("chosen"))


class Buffers(Points):
    def network(self) -> nn.Module:
        return OddBuffers()


class LateBuffer(Body):
    """Makes a buffer when it is first used."""

    def forward(self, inputs: Tensor) -> Tensor:
        self.register_buffer("seen", inputs.detach().mean(0))
        return super().forward(inputs)


class Later(Points):
    def network(self) -> nn.Module:
        return LateBuffer()


class Spread(nn.Module):
    """A parameter whose elements share memory, and one that is a view of another."""

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.Parameter(torch.ones(1, 2).expand(4, 2))
        self.square = nn.Parameter(torch.eye(4))
        self.turned = nn.Parameter(torch.eye(4).T)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = inputs @ self.square @ self.turned @ self.spread
        return scores


class SharedParameters(Points):
    def network(self) -> nn.Module:
        return Spread()
