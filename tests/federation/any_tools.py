"""Networks that tools have made of others; see `test_any_model`."""

import warnings

import torch
from torch import nn
from torch.ao.quantization import get_default_qat_qconfig, prepare_qat, quantize_dynamic
from torch.nn.utils import parametrizations, prune

from fanfold.learning import seeded
from tests.federation.any_networks import Points


class ParametrisedByHooks(Points):
    """The same, and pruning, as hooks did it before; they make the weight anew in each step."""

    def network(self) -> nn.Module:
        first, second, last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        prune.l1_unstructured(last, "weight", 0.3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return nn.Sequential(nn.utils.weight_norm(first), nn.utils.spectral_norm(second), last)


class Orthogonal(Points):
    """On the manifold of orthogonal matrices."""

    def network(self) -> nn.Module:
        return nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 2))


class Scripted(Points):
    def network(self) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            scripted: nn.Module = torch.jit.script(super().network())
        return scripted


class Symbolic(Points):
    """A graph of torch.fx."""

    def network(self) -> nn.Module:
        return torch.fx.symbolic_trace(super().network())


class QuantisationAware(Points):
    """Prepared to be quantised: observers that begin at infinity."""

    def network(self) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = super().network().train()
            network.qconfig = get_default_qat_qconfig("fbgemm")
            prepared: nn.Module = prepare_qat(network)
        return prepared


class QuantisedBody(Points):
    """A body of eight bits, which has no parameters any more, and a head that learns."""

    def network(self) -> nn.Module:
        with warnings.catch_warnings(), seeded(1):
            warnings.simplefilter("ignore")
            body = quantize_dynamic(nn.Sequential(nn.Linear(4, 8)), {nn.Linear}, torch.qint8)
        return nn.Sequential(body, nn.Linear(8, 2))
