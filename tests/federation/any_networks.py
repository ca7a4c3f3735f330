"""Networks as people write them, each odd in one way; see `test_any_model`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils import parametrizations
from torch.utils.data import TensorDataset

from fanfold.learning import Task

NUM_EXAMPLES = 24


class Points(Task):
    """Two classes of points, divided among the participants; the library trains."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def all_data(self) -> TensorDataset:
        generator = torch.Generator().manual_seed(3)
        inputs = torch.randn(NUM_EXAMPLES, 4, generator=generator)
        return TensorDataset(inputs, (inputs.sum(1) > 0).long())

    def train_data(self) -> Any:
        tensors = self.all_data().tensors
        part = slice(self.partition_index, None, self.num_partitions)
        return TensorDataset(*(tensor[part] for tensor in tensors))

    def test_data(self) -> Any:
        return self.all_data()


class Body(nn.Module):
    """A linear layer that derived classes put something beside."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.linear(inputs)
        return scores


def _with_prefix(_module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    for name in list(state):
        state[f"{prefix}saved.{name.removeprefix(prefix)}"] = state.pop(name)


def _in_half(_module: nn.Module, state: dict[str, Any], _prefix: str, _metadata: Any) -> None:
    for name, tensor in state.items():
        state[name] = tensor.half()


class Renaming(Points):
    """Whose state_dict has other names than its parameters."""

    def network(self) -> nn.Module:
        network = super().network()
        network.register_state_dict_post_hook(_with_prefix)
        return network


class Casting(Points):
    """Whose state_dict gives copies in another dtype."""

    def network(self) -> nn.Module:
        network = super().network()
        network.register_state_dict_post_hook(_in_half)
        return network


class Extra(Body):
    """With extra state that is a tensor, a copy."""

    def get_extra_state(self) -> Tensor:
        return self.linear.weight.detach().clone()

    def set_extra_state(self, state: Tensor) -> None:
        del state


class ExtraState(Points):
    def network(self) -> nn.Module:
        return Extra()


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


class TiedHead(nn.Module):
    """Into a space and back with the same matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4, bias=False)
        self.decoder = nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.decoder(self.encoder(inputs)))
        return scores


class Tied(Points):
    def network(self) -> nn.Module:
        return TiedHead()


class Compiled(Points):
    """Compiled as a whole by every second participant, and a part of it by all."""

    def network(self) -> nn.Module:
        network = nn.Sequential(
            nn.Linear(4, 8), torch.compile(nn.Linear(8, 8), backend="eager"), nn.Linear(8, 2)
        )
        return torch.compile(network, backend="eager") if self.partition_index else network


class DataParallel(Points):
    """Spread over devices by every second participant."""

    def network(self) -> nn.Module:
        network = super().network()
        return nn.DataParallel(network) if self.partition_index else network


class Checkpointed(Points):
    """With activations that are computed again."""

    def network(self) -> nn.Module:
        return nn.Sequential(checkpoint_wrapper(nn.Linear(4, 8)), nn.Linear(8, 2))


class Parametrised(Points):
    """Weight and spectral normalisation."""

    def network(self) -> nn.Module:
        return nn.Sequential(
            parametrizations.weight_norm(nn.Linear(4, 8)),
            parametrizations.spectral_norm(nn.Linear(8, 2)),
        )


class Lazy(Points):
    """Whose first layer does not know its inputs."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 2))


class RunOnce(Lazy):
    """The same, once something was run through it."""

    def network(self) -> nn.Module:
        network = super().network()
        network(torch.zeros(1, 4))
        return network


class Rotations(nn.Module):
    """A complex layer."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.ones(4, 2, dtype=torch.complex64))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.to(torch.complex64) @ self.turn).real


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


class LocalHead(Points):
    """A head with as many classes as the participant's own labels."""

    def network(self) -> nn.Module:
        return nn.Linear(4, 2 + self.partition_index)


class Dollars(Points):
    """House prices, of which a model of five numbers learns the mean."""

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


class AllFrozen(Points):
    def network(self) -> nn.Module:
        return super().network().requires_grad_(requires_grad=False)


class CutOff(Points):
    """Whose loss no gradient flows from."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        return super().loss(outputs, targets).detach()


class NoNetwork(Points):
    def network(self) -> Any:
        return [nn.Linear(4, 2)]


class NoTensors(Points):
    def network(self) -> nn.Module:
        return nn.ReLU()
