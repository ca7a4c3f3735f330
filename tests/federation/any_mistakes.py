"""Usual mistakes, each of which gets a sentence; see `test_any_model`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.federation.any_data import Listed
from tests.federation.any_networks import Body, Points


class LoaderGiven(Points):
    """A loader where a dataset belongs."""

    def train_data(self) -> Any:
        return DataLoader(super().train_data(), batch_size=4)


class ArraysGiven(Points):
    """Inputs and targets side by side, which is no dataset."""

    def train_data(self) -> Any:
        return super().train_data().tensors


class InDouble(Points):
    """Numbers as numpy has them."""

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs.double(), targets)


class FromOne(Points):
    """Classes that are numbered from 1."""

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs, targets + 1)


class Column(Points):
    """Targets with one dimension more than they need."""

    def all_data(self) -> TensorDataset:
        inputs, targets = super().all_data().tensors
        return TensorDataset(inputs, targets[:, None])


class NumbersForClasses(Listed):
    def example(self, number: int, inputs: Tensor, target: int) -> Any:
        return inputs, float(target)


class Unreadable(Points):
    """Of which one example cannot be read, when its turn comes."""

    def train_data(self) -> Any:
        return Torn(super().train_data())


class Torn(Dataset[Any]):
    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise OSError("scan 1 cannot be read")
        return self.data[index]


class PlainLoss(Points):
    def loss(self, outputs: Any, targets: Any) -> Any:
        return super().loss(outputs, targets).item()


class NoMetrics(Points):
    def metrics(self, outputs: Any, targets: Any) -> Any:
        del outputs, targets


class OddHistory(Points):
    """Trains in a way of its own, and returns what nobody can read."""

    def fit(self, network: nn.Module, data: Any, plan: Any) -> Any:
        return super().fit(network, data, plan)[-1]


class LateParameter(Body):
    """Makes a parameter when it is first used."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(2))
        return super().forward(inputs) * self.scale


class Late(Points):
    def network(self) -> nn.Module:
        return LateParameter()


class Edges(Body):
    """A graph whose edges are a sparse matrix."""

    def __init__(self, *, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("edges", torch.eye(4).to_sparse(), persistent=persistent)

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward((self.get_buffer("edges") @ inputs.T).T)


class SparseGraph(Points):
    def network(self) -> nn.Module:
        return Edges(persistent=True)


class GraphOfEverybody(Points):
    """As the sentence says."""

    def network(self) -> nn.Module:
        return Edges(persistent=False)


class WithoutValues(Points):
    def network(self) -> nn.Module:
        with torch.device("meta"):
            return super().network()


class Measures(Points):
    """Evaluates in a way of its own, with tensors."""

    def validation_data(self) -> Any:
        return self.all_data()

    def evaluate(self, network: nn.Module, data: Any) -> Any:
        return {
            name: torch.tensor(value) for name, value in super().evaluate(network, data).items()
        }


class MeasuresPairs(Measures):
    """Likewise, and returns what nobody can read."""

    def evaluate(self, network: nn.Module, data: Any) -> Any:
        measured = super().evaluate(network, data)
        return measured["loss"], measured["accuracy"]


class MeasuresWords(Measures):
    def evaluate(self, network: nn.Module, data: Any) -> Any:
        return {**super().evaluate(network, data), "verdict": "good"}


class TextShared(Points):
    shared = "0.*"  # type: ignore[assignment]  # the mistake


class WithoutSuper(Points):
    """Whose own `__init__` forgets that of the class that it derives from."""

    def __init__(self, data_dir: Any = None, **arguments: Any) -> None:
        self.folder, self.arguments = data_dir, arguments


class WithoutGradients(Points):
    """Built where somebody has turned gradients off for good."""

    def network(self) -> nn.Module:
        torch.set_grad_enabled(mode=False)
        return super().network()
