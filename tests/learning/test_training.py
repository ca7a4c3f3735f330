import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from fanfold.learning import (
    Execution,
    LearningError,
    TaskError,
    TrainingAbandoned,
    evaluate,
    fit,
    in_memory,
    local_optimizer,
    resident,
)
from fanfold.learning.training import train

CPU = torch.device("cpu")


def make_data(num_examples: int = 30) -> TensorDataset:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(num_examples, 4, generator=generator)
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def make_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def parameters_of(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach().clone()


class OneByOne(Dataset):
    """The same examples as a dataset that is not made of tensors."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        inputs, label = self.data[index]
        return inputs, int(label)


def test_fit_is_plain_sgd() -> None:
    """Equal bit for bit to the loop one writes by hand over the same shuffled batches."""
    data = make_data()
    ours, plain = make_network(), make_network()
    history = fit(
        ours, data, epochs=2, lr=0.1, batch_size=8, opt=local_optimizer("sgd", 0.9), seed=3
    )

    optimizer = SGD(plain.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(3)
    losses: list[float] = []
    for _ in range(2):
        for chosen in torch.randperm(30, generator=generator).split(8):
            inputs, labels = data[chosen]
            loss = cross_entropy(plain(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(chosen))
    assert parameters_of(ours).equal(parameters_of(plain))
    assert [loss for loss, _ in history] == pytest.approx(
        [sum(losses[:4]) / 30, sum(losses[4:]) / 30]
    )


def test_tensors_and_a_loader_train_alike() -> None:
    """Gathered, taken from a subset or brought into memory: the batches are the same."""
    data = make_data()
    results = []
    for dataset in (data, Subset(data, range(30)), OneByOne(data), in_memory(OneByOne(data))):
        network = make_network()
        history = fit(network, dataset, epochs=2, lr=0.1, batch_size=8, seed=3)
        results.append((history, parameters_of(network).tolist()))
    assert results[1] == results[0]
    assert len(results[2][0]) == len(results[0][0])
    assert results[3] == results[0]


def test_a_mean_is_over_examples_not_over_batches() -> None:
    """A smaller last batch weighs less: the batch size does not change what evaluate says."""
    network, data = make_network(), make_data()
    whole = evaluate(network, data, batch_size=30)
    assert evaluate(network, data, batch_size=29) == pytest.approx(whole)
    inputs, labels = data.tensors
    assert whole[0] == pytest.approx(cross_entropy(network(inputs), labels).item())
    assert whole[1] == pytest.approx((network(inputs).argmax(1) == labels).float().mean().item())


def test_evaluation_needs_no_gradient_and_restores_the_mode() -> None:
    """Dropout is off while evaluating and what it was before comes back."""
    network = nn.Sequential(nn.Dropout(0.9), make_network()).train()
    assert evaluate(network, make_data()) == evaluate(network, make_data())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    fit(network.eval(), make_data(), 1, 0.1)
    assert not network.training


def test_steps_cross_passes() -> None:
    """Six steps over four batches a pass are one pass and half of another."""
    seen = []
    execution = Execution(on_step=lambda step, steps, loss: seen.append((step, steps, loss.dim())))
    network = make_network()
    history = fit(network, make_data(), 1, 0.1, batch_size=8, steps=6, execution=execution)
    assert len(history) == 2
    assert seen == [(step, 6, 0) for step in range(1, 7)]


@pytest.mark.parametrize("plan", [{"epochs": 0}, {"epochs": 3, "steps": 0}])
def test_no_steps_change_nothing(plan: dict[str, int]) -> None:
    """The history is empty then."""
    network = make_network()
    before = parameters_of(network)
    assert fit(network, make_data(), lr=0.1, **plan) == []
    assert parameters_of(network).equal(before)


def test_a_training_can_be_abandoned_between_batches() -> None:
    """The error says how far it came."""
    answers = iter([False, False, True])
    execution = Execution(should_stop=lambda: next(answers))
    with pytest.raises(TrainingAbandoned, match="abandoned after 2 of 4 steps") as abandoned:
        fit(make_network(), make_data(), 1, 0.1, batch_size=8, execution=execution)
    assert (abandoned.value.step, abandoned.value.steps) == (2, 4)


def test_the_proximal_term_is_that_of_fedprox() -> None:
    """Equal to autograd through mu/2 * |w - w_base|^2, with w_base the parameters at the start."""
    data, mu = make_data(), 0.7
    ours, plain = make_network(), make_network()
    fit(ours, data, epochs=3, lr=0.1, batch_size=30, proximal_mu=mu)
    base = parameters_of(plain)
    optimizer = SGD(plain.parameters(), lr=0.1)
    for _ in range(3):
        inputs, labels = data.tensors
        away = nn.utils.parameters_to_vector(plain.parameters()) - base
        optimizer.zero_grad()
        (cross_entropy(plain(inputs), labels) + mu / 2 * away.square().sum()).backward()
        optimizer.step()
    torch.testing.assert_close(parameters_of(ours), parameters_of(plain))


def test_a_strong_proximal_term_keeps_the_parameters_near() -> None:
    """It acts in every step, not only in the first."""
    moved = []
    for mu in (0.0, 5.0):
        network = make_network()
        before = parameters_of(network)
        fit(network, make_data(), epochs=20, lr=0.1, proximal_mu=mu)
        moved.append((parameters_of(network) - before).norm().item())
    assert moved[1] < 0.2 * moved[0]


@pytest.mark.parametrize("num_examples", [9, 17, 2])
def test_a_single_last_example_does_not_break_batch_normalisation(num_examples: int) -> None:
    """Where the network needs two examples, a lone one sits out the pass."""
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    steps = []
    execution = Execution(on_step=lambda step, total, loss: steps.append(total))
    fit(network, make_data(num_examples), 1, 0.1, batch_size=8, execution=execution)
    assert steps[-1] == max(1, num_examples // 8)


def test_a_single_last_example_trains_without_batch_normalisation() -> None:
    """Nothing is left out where nothing must be."""
    steps = []
    execution = Execution(on_step=lambda step, total, loss: steps.append(total))
    fit(make_network(), make_data(9), 1, 0.1, batch_size=8, execution=execution)
    assert steps == [2, 2]


def test_the_seed_decides_the_order() -> None:
    """Another seed is another training; without one, torch's generator decides."""

    def trained(**options: int) -> list[float]:
        network = make_network()
        fit(network, make_data(), 2, 0.1, batch_size=8, **options)
        return parameters_of(network).tolist()

    assert trained(seed=1) == trained(seed=1)
    assert trained(seed=1) != trained(seed=2)
    assert trained() == trained()  # make_network seeds torch


def test_every_example_is_seen_once_in_a_pass() -> None:
    """A pass is a permutation, and the next one is another."""
    data = TensorDataset(torch.arange(10.0).unsqueeze(1), torch.zeros(10, dtype=torch.int64))
    seen: list[float] = []
    network = nn.Linear(1, 2)

    def measure(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        seen.extend(batch[0].flatten().tolist())
        return network(batch[0]).sum(), {}

    train(network, data, measure, epochs=2, lr=0.0, batch_size=4)
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_frozen_parameters_stay() -> None:
    """Only what requires a gradient is trained, and something must."""
    network = make_network()
    network[0].requires_grad_(requires_grad=False)
    before = network[0].weight.clone()
    fit(network, make_data(), 1, 0.1)
    assert network[0].weight.equal(before)
    with pytest.raises(LearningError, match="no parameter that requires gradients"):
        fit(network.requires_grad_(requires_grad=False), make_data(), 1, 0.1)


@pytest.mark.parametrize("opt", [Adam, "adam", "AdamW", "RMSprop"])
def test_optimizers_go_by_class_or_name(opt: object) -> None:
    """In any case of letters."""
    network = make_network()
    history = fit(network, make_data(), 5, 0.05, opt=opt)
    assert history[-1][0] < history[0][0]


@pytest.mark.parametrize("name", ["lbfgs", "sparseadam", "optimizer", "nonsense"])
def test_an_optimizer_that_cannot_take_a_plain_step_is_refused(name: str) -> None:
    """The message lists those that can."""
    with pytest.raises(LearningError, match=f"no optimizer '{name}'; .*adam, .*sgd"):
        local_optimizer(name)


def test_momentum_belongs_to_sgd() -> None:
    """Other optimizers ignore it."""
    parameters = [nn.Parameter(torch.ones(1))]
    assert local_optimizer("SGD", 0.5)(parameters, lr=1.0).defaults["momentum"] == 0.5
    assert isinstance(local_optimizer("Adam", 0.5)(parameters, lr=1.0), Adam)


def test_bfloat16_and_channels_last_train_too() -> None:
    """The parameters stay float32."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
    data = TensorDataset(torch.rand(16, 3, 8, 8), torch.arange(16) % 2)
    execution = Execution(bfloat16=True, channels_last=True)
    history = fit(network, data, 3, 0.1, execution=execution)
    assert history[-1][0] < history[0][0]
    assert all(parameter.dtype is torch.float32 for parameter in network.parameters())


class Empty(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(())


@pytest.mark.parametrize("data", [TensorDataset(torch.zeros(0, 4), torch.zeros(0)), Empty()])
def test_data_without_examples_or_length_is_refused(data: Dataset) -> None:
    """Its number of examples is the weight of the update, so it must be known."""
    with pytest.raises(TaskError, match=r"dataset \((TensorDataset|Empty)\) has no examples or no"):
        fit(make_network(), data, 1, 0.1)


def test_random_examples_stay_random() -> None:
    """Augmentation is not frozen unless somebody asks for it."""

    class Noisy(OneByOne):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.full((4,), random.random()), 0

    noisy = Noisy(make_data(3))
    assert resident(noisy, CPU, 2**30) is noisy
    frozen = in_memory(noisy)
    assert frozen[0][0].equal(frozen[0][0])
    assert not noisy[0][0].equal(noisy[0][0])


def test_in_memory_respects_its_limit() -> None:
    """A dataset that would be too large is left alone."""
    dataset = OneByOne(make_data())
    assert in_memory(dataset, limit_bytes=30 * 24 - 1) is dataset
    assert in_memory(dataset, limit_bytes=30 * 24) is not dataset


def test_an_evaluation_can_be_abandoned_too() -> None:
    """Held-out data may be large."""
    with pytest.raises(TrainingAbandoned, match="abandoned after 0 of 4 steps"):
        evaluate(make_network(), make_data(), 8, execution=Execution(should_stop=lambda: True))
