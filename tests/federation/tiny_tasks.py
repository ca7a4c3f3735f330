"""Tasks that train in a moment and draw nothing, so that threads and processes may share them."""

import os
import threading
import time
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from fanfold.learning import Task, TrainingAbandoned, TrainingPlan

MODULE = "tests.federation.tiny_tasks"
INPUTS = torch.tensor([[1.0, 0], [0, 1], [2, 1], [1, 3], [-1, 0], [0, -2], [-1, 1], [2, -2]])
TARGETS = (INPUTS[:, 0] > INPUTS[:, 1]).long()


def first_share(index: int, num: int) -> slice:
    """Return the first participant's five examples, or the rest; all of them where one is alone."""
    return slice(0, 5 if num > 1 else 8) if index == 0 else slice(5, 8)


class Tiny(Task):
    """Two classes of points, a linear model, and whole-batch gradient steps."""

    def network(self) -> nn.Module:
        network = nn.Linear(2, 2)
        nn.init.zeros_(network.bias)
        with torch.no_grad():
            network.weight.copy_(torch.tensor([[0.5, -0.25], [0.125, 0.75]]))
        return network

    def train_data(self) -> TensorDataset:
        share = first_share(self.partition_index, self.num_partitions)
        return TensorDataset(INPUTS[share], TARGETS[share])

    def test_data(self) -> Dataset[Any] | None:
        return TensorDataset(INPUTS, TARGETS)

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        inputs, targets = data.tensors
        history = []
        for _ in range(plan.epochs):
            loss = self.loss(network(inputs), targets)
            loss.backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(parameter.grad, alpha=plan.lr)
                        parameter.grad = None
            history.append({"loss": float(loss.detach())})
        return history


class TinyOfManyBytes(Tiny):
    """68 MB of parameters: more chunks than a message may have, where they are small."""

    def network(self) -> nn.Module:
        network = super().network()
        network.register_parameter("more", nn.Parameter(torch.zeros(17_000_000)))
        return network


class Slow(Tiny):
    """Trains for as many seconds as the environment says, unless it is told to stop."""

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        until = time.monotonic() + float(os.environ.get("SLOW_SECONDS", "0"))
        while time.monotonic() < until:
            if self.execution.should_stop is not None and self.execution.should_stop():
                raise TrainingAbandoned(0, 1)
            time.sleep(0.02)
        return super().fit(network, data, plan)


class Ill(Tiny):
    """Trains to values that are not finite, if the environment says so."""

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        history = super().fit(network, data, plan)
        if os.environ.get("ILL"):
            with torch.no_grad():
                next(network.parameters()).fill_(float("nan"))
        return history


class Unstoppable(Tiny):
    """Trains for ten minutes and never asks whether it should stop."""

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        time.sleep(600)
        return super().fit(network, data, plan)


class UnstoppableEvaluation(Tiny):
    """Is evaluated for ten minutes and never asks whether that should stop."""

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        time.sleep(600)
        return super().evaluate(network, data)


class Gated(Tiny):
    """A model of some size; every participant but the first waits for a gate before it trains."""

    gate: ClassVar[threading.Event] = threading.Event()

    def network(self) -> nn.Module:
        network = nn.Linear(100, 50)
        nn.init.zeros_(network.weight)
        nn.init.zeros_(network.bias)
        return network

    def test_data(self) -> None:
        return None

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        while self.partition_index and not self.gate.wait(0.02):
            if self.execution.should_stop is not None and self.execution.should_stop():
                raise TrainingAbandoned(0, 1)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.001)
        return [{"loss": 0.0}]


class GatedTiny(Gated):
    """Whose model is so small that several fit into what a queue holds beside a version."""

    def network(self) -> nn.Module:
        return Tiny.network(self)


class Wide(Tiny):
    """Another network than `Tiny`'s."""

    def network(self) -> nn.Module:
        return nn.Linear(2, 3)


class Reporting(Tiny):
    """No held-out data, but participants measure on their own."""

    def test_data(self) -> None:
        return None

    def validation_data(self) -> TensorDataset:
        return self.train_data()


class Normalised(Tiny):
    """With a batch normalisation, whose counts are integers and whose statistics are buffers."""

    def network(self) -> nn.Module:
        linear = super().network()
        return nn.Sequential(linear, nn.BatchNorm1d(2))


class Counter(nn.Module):
    """Passes everything on, and counts the examples in an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor(7))

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen += len(inputs)
        return inputs


class Counting(Tiny):
    """With a buffer that holds an integer."""

    def network(self) -> nn.Module:
        return nn.Sequential(super().network(), Counter())


class ReaderLimits(nn.Module):
    """Passes everything on; holds a mask, and the smallest value of each column that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, float("-inf"), float("nan")]))
        self.register_buffer("least", torch.full((2,), float("inf")))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.least = torch.minimum(self.least, inputs.detach().amin(0))
        return inputs


class Limited(Tiny):
    """With buffers that are not finite: for ever, or until something was seen."""

    def network(self) -> nn.Module:
        return nn.Sequential(ReaderLimits(), super().network())


class OwnBias(Tiny):
    """Everybody keeps a bias of its own."""

    shared = ("!bias",)


class Sampled(Tiny):
    """Trains as the library does, in float64: for comparisons with plain SGD."""

    def network(self) -> nn.Module:
        return super().network().double()

    def train_data(self) -> TensorDataset:
        return TensorDataset(INPUTS.double(), TARGETS)

    def test_data(self) -> None:
        return None

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        return Task.fit(self, network, data, plan)


class ByLibrary(Sampled):
    """Leaves the training to the library, and measures on data of its own."""

    fit = Task.fit

    def validation_data(self) -> TensorDataset:
        return self.train_data()


class NormalisedByLibrary(ByLibrary):
    """The same with a batch normalisation."""

    def network(self) -> nn.Module:
        return nn.Sequential(super().network(), nn.BatchNorm1d(2))


class FromFolder(Tiny):
    """Its examples are the files in its folder."""

    def train_data(self) -> TensorDataset:
        assert self.data_dir is not None
        files = sorted(self.data_dir.iterdir())
        values = torch.tensor([[float(file.read_text()), 0.0] for file in files]).reshape(-1, 2)
        return TensorDataset(values, torch.zeros(len(files), dtype=torch.long))


class FromFile(Tiny):
    """Its examples are in one file, which it takes for granted."""

    def train_data(self) -> TensorDataset:
        assert self.data_dir is not None
        values = [float(line) for line in (self.data_dir / "train.txt").read_text().split()]
        inputs = torch.tensor([[value, 0.0] for value in values])
        return TensorDataset(inputs, torch.zeros(len(values), dtype=torch.long))


class HeldOutFromFile(Tiny):
    """Its held-out data is in a file."""

    def test_data(self) -> Dataset[Any] | None:
        assert self.data_dir is not None
        return TensorDataset(*torch.load(self.data_dir / "test.pt", weights_only=True))


class SparseParameter(Tiny):
    """Its network has a parameter that cannot travel."""

    def network(self) -> nn.Module:
        network = super().network()
        network.register_parameter("few", nn.Parameter(torch.eye(2).to_sparse()))
        return network


def accuracy_of(tensors: dict[str, Tensor]) -> float:
    """Return the accuracy of a linear model on all points."""
    outputs = INPUTS @ tensors["weight"].T + tensors["bias"]
    return float((outputs.argmax(1) == TARGETS).float().mean())
