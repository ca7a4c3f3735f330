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


class Recurrent(Points):
    """Two directions, two layers, dropout."""

    def network(self) -> nn.Module:
        return BothWays()


class BothWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 4, 2, batch_first=True, bidirectional=True, dropout=0.1)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.lstm(inputs[..., None])[0][:, -1])
        return scores


class Attention(Points):
    def network(self) -> nn.Module:
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        return nn.Sequential(nn.Unflatten(1, (1, 4)), layer, nn.Flatten(), nn.Linear(4, 2))


class OddNames(Points):
    """Names with spaces, brackets and letters that are not English."""

    def network(self) -> nn.Module:
        return Named()


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        names = ("a b/c", "größe[0]", "{x}%s")
        self.parts = nn.ModuleDict({name: nn.Linear(4, 2) for name in names})

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([part(inputs) for part in self.parts.values()]).sum(0)


class OneAndTheSame(Points):
    """A network that the task holds, and gives again and again."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.held = super().network()

    def network(self) -> nn.Module:
        return self.held


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


class LocalHead(Points):
    """A head with as many classes as the participant's own labels."""

    def network(self) -> nn.Module:
        return nn.Linear(4, 2 + self.partition_index)


class FrozenBody(Points):
    """Of which only the head is trained; the rest is as everybody builds it."""

    def network(self) -> nn.Module:
        network = super().network()
        body = network.get_submodule("0").requires_grad_(requires_grad=False)
        with torch.no_grad():
            for parameter in body.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
        return network


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
