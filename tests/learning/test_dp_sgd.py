"""Facts about trainings that tell little of any one example: the formulas, and what is refused."""

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opacus.accountants import PRVAccountant
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import Dataset, TensorDataset

from fanfold.learning import (
    ExamplePrivacy,
    Execution,
    FederatedNet,
    LearningError,
    Task,
    TrainingAbandoned,
    TrainingPlan,
    dp_sgd,
)
from fanfold.learning import training as plain

INPUTS = torch.linspace(-2, 2, 24).reshape(8, 3)
TARGETS = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
HUGE = 1e9
"""A clip that no gradient is longer than."""


class Spent:
    """Who is told what a training spends."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, int]] = []

    def __call__(self, rate: float, steps: int) -> dict[str, float]:
        self.calls.append((rate, steps))
        return {"epsilon": 0.5, "delta": 1e-5}


class Plain(Task):
    """Two layers, the default loss, and everything in one batch."""

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()

    def train_data(self) -> TensorDataset:
        return TensorDataset(INPUTS.double(), TARGETS)


def rules(clip: float = HUGE, noise: float = 0.0, spend: Callable[..., Any] | None = None) -> Any:
    return ExamplePrivacy(clip=clip, noise=noise, spend=spend or Spent())


def tensors(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def trained(task: Task, plan: TrainingPlan, privacy: ExamplePrivacy | None) -> list[Tensor]:
    network = task.network()
    task.example_privacy = privacy
    task.fit(network, task.train_data(), plan)
    return tensors(network)


@pytest.mark.parametrize("proximal_mu", [0.0, 0.5])
def test_without_noise_and_clip_it_is_plain_sgd(proximal_mu: float) -> None:
    """Where every batch is the whole data; with momentum and the proximal term, too."""
    plan = TrainingPlan(epochs=3, batch_size=8, lr=0.5, momentum=0.9, proximal_mu=proximal_mu)
    expected = trained(Plain(), plan, None)
    torch.testing.assert_close(trained(Plain(), plan, rules()), expected)


def test_each_example_is_clipped_by_itself() -> None:
    """The step is the sum of clipped gradients over the expected batch size."""
    clip = 0.05
    task = Plain()
    start = tensors(task.network())
    total = [torch.zeros_like(tensor) for tensor in start]
    num_clipped = 0
    for inputs, target in zip(INPUTS.double(), TARGETS, strict=True):
        network = task.network()
        cross_entropy(network(inputs[None]), target[None]).backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
        num_clipped += norm > clip
        for whole, gradient in zip(total, gradients, strict=True):
            assert gradient is not None
            whole.add_(gradient, alpha=min(1.0, clip / norm))
    assert num_clipped == 8
    expected = [s - 0.5 * t / 8 for s, t in zip(start, total, strict=True)]
    plan = TrainingPlan(steps=1, batch_size=8, lr=0.5, momentum=0.0)
    # opacus adds 1e-6 to the norm that it divides by
    torch.testing.assert_close(trained(task, plan, rules(clip)), expected, rtol=1e-4, atol=1e-6)


def test_the_noise_of_a_step_has_the_stated_deviation() -> None:
    """Z C over the expected batch size; the gradients of zero inputs are nothing beside it."""
    network = nn.Linear(10_000, 2, bias=False)
    nn.init.zeros_(network.weight)
    data = TensorDataset(torch.zeros(4, 10_000), torch.zeros(4, dtype=torch.long))
    dp_sgd.train(
        network,
        data,
        lambda batch: (cross_entropy(network(batch[0]), batch[1]), {}),
        privacy=rules(clip=0.5, noise=3.0),
        epochs=1,
        lr=1.0,
        batch_size=4,
        opt=SGD,
    )
    deviation = 3.0 * 0.5 / 4
    assert float(network.weight.detach().std()) == pytest.approx(deviation, rel=5 / math.sqrt(4e4))


def test_no_seed_leads_to_the_noise_or_to_the_batches() -> None:
    """Whoever knows the run's seed knows neither."""
    plan = TrainingPlan(steps=4, batch_size=2, lr=0.5)
    for privacy in (rules(noise=0.0), rules(clip=1.0, noise=1.0)):
        first, second = (trained(Plain(), plan, privacy) for _ in range(2))  # seeds torch alike
        assert not torch.equal(first[0], second[0])


def test_batches_are_drawn_example_by_example() -> None:
    """Poisson sampling: each has the same chance, and the size of a batch is no plan's."""
    sizes: list[int] = []
    network = nn.Linear(3, 2)

    def measure(batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        sizes.append(len(batch[0]))
        return cross_entropy(network(batch[0]), batch[1]), {}

    spent = Spent()
    data = TensorDataset(INPUTS, TARGETS)
    history = dp_sgd.train(
        network,
        data,
        measure,
        privacy=rules(1.0, 1.0, spent),
        epochs=100,
        lr=0.1,
        batch_size=2,
        opt=SGD,
    )
    assert spent.calls == [(0.25, 400)]
    assert len(history) == 100
    assert (history[-1]["epsilon"], history[-1]["delta"]) == (0.5, 1e-5)
    assert len(set(sizes)) > 2
    assert len(sizes) < 400  # some were empty, and those steps are noise alone
    assert sum(sizes) / 400 == pytest.approx(2.0, abs=5 * math.sqrt(8 * 0.25 * 0.75 / 400))


class Listed(Dataset[Any]):
    """Examples one by one, as from files."""

    def __len__(self) -> int:
        return len(INPUTS)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return INPUTS[index].double(), int(TARGETS[index])


def test_data_may_come_example_by_example() -> None:
    """And means the same."""
    plan = TrainingPlan(steps=2, batch_size=8, lr=0.5)
    expected = trained(Plain(), plan, None)
    task = Plain()
    task.example_privacy = rules()
    network = task.network()
    task.fit(network, Listed(), plan)
    torch.testing.assert_close(tensors(network), expected)


def test_the_default_network_and_loss_work_and_are_left_as_they_were() -> None:
    """A plain training can follow."""
    network = FederatedNet()
    data = TensorDataset(torch.rand(6, 1, 28, 28), torch.arange(6))
    options: dict[str, Any] = {"epochs": 1, "lr": 0.1, "batch_size": 6}
    dp_sgd.train(
        network,
        data,
        lambda batch: (cross_entropy(network(batch[0]), batch[1]), {}),
        privacy=rules(1.0, 1.0),
        opt=SGD,
        **options,
    )
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(hasattr(parameter, "grad_sample") for parameter in network.parameters())
    plain.fit(network, data, **options)


def test_a_training_that_is_told_to_stop_stops() -> None:
    """What it was to spend is spent: counted before the first step."""
    spent = Spent()
    task = Plain()
    task.execution = Execution(should_stop=lambda: len(spent.calls) > 0)
    with pytest.raises(TrainingAbandoned, match="after 0 of 2 steps"):
        trained(task, TrainingPlan(steps=2, batch_size=4), rules(1.0, 1.0, spent))
    assert spent.calls == [(0.5, 2)]


class WithBuffer(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)
        self.register_buffer("seen", torch.zeros(()))


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), r"batch normalisation \(1\).*mixes"),
        (WithBuffer(), r"does not go with buffers \(seen\)"),
        (nn.LSTM(3, 2), "DP-SGD cannot train this network"),
    ],
)
def test_what_has_no_gradient_of_a_single_example_is_refused(
    network: nn.Module, sentence: str
) -> None:
    """In words, and nothing has changed."""
    network.eval()
    with pytest.raises(LearningError, match=sentence):
        dp_sgd.check(network)
    assert not network.training


def test_without_opacus_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.delitem(sys.modules, "fanfold.learning.dp_sgd")
    monkeypatch.delattr("fanfold.learning.dp_sgd")
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(LearningError, match=r"pip install -e '\.\[privacy\]'"):
        trained(Plain(), TrainingPlan(steps=1), rules())


def test_epsilon_composes_what_was_spent() -> None:
    """It bounds what a numerical accountant finds, and not by much."""
    accountant = PRVAccountant()
    accountant.history = [(1.0, 0.1, 100)]
    exact = accountant.get_epsilon(1e-5)
    bound = dp_sgd.epsilon([(1.0, 0.1, 60), (1.0, 0.1, 40)], 1e-5)
    assert exact < bound < 1.2 * exact
    assert math.isfinite(dp_sgd.epsilon([(1e-3, 0.5, 10**6)], 1e-5))
