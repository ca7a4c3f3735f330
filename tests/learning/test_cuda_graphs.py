"""Facts about steps that are recorded and replayed.

What decides between recording and running is tried everywhere; CUDA itself only where it is.
"""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad
from torch.utils.data import Dataset, TensorDataset

from fanfold.learning import Execution, LearningError, fit
from fanfold.learning.cuda_graphs import (
    WARM_UP_STEPS,
    CudaRecorder,
    Replays,
    Run,
    check_nothing_began,
    form_of,
    state_of,
)
from fanfold.learning.measures import Measured
from fanfold.learning.step import Step, precision

CPU = torch.device("cpu")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Told:
    """Records nothing: takes every step as it is, and tells what it was asked for."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def run(self, step: Step, batch: Any) -> Measured:
        self.did.append("ran")
        return step(batch)

    def record(self, step: Step, _batch: Any) -> Run:
        self.did.append("recorded")

        def replay(batch: Any) -> Measured:
            self.did.append("replayed")
            return step(batch)

        return replay


def make_step(network: nn.Module) -> Step:
    def measure(batch: Any) -> Measured:
        loss = network(batch[0]).square().mean()
        return loss, {}

    parameters = list(network.parameters())
    return Step(
        measure,
        SGD(parameters, lr=0.1),
        parameters,
        proximal_mu=0.0,
        precision=precision(CPU, bfloat16=False),
    )


def test_what_comes_often_is_recorded_once_and_then_replayed() -> None:
    """The first steps run as they are; each step is taken exactly once."""
    network, plain = nn.Linear(2, 1), nn.Linear(2, 1)
    plain.load_state_dict(network.state_dict())
    told = Told()
    replays, step = Replays(make_step(network), told), make_step(plain)
    for number in range(WARM_UP_STEPS + 2):
        batch = (torch.full((3, 2), float(number)),)
        assert replays(batch)[0].equal(step(batch)[0])
    assert told.did == ["ran"] * WARM_UP_STEPS + ["recorded", "replayed", "replayed"]
    assert network.weight.equal(plain.weight)


def test_a_smaller_batch_and_one_with_texts_run_as_they_are() -> None:
    """A recording serves one form only, and holds nothing but tensors."""
    told = Told()
    replays = Replays(make_step(nn.Linear(2, 1)), told)
    for _ in range(WARM_UP_STEPS + 1):
        replays((torch.ones(3, 2),))
    told.did.clear()
    replays((torch.ones(2, 2),))
    for _ in range(WARM_UP_STEPS + 2):
        replays((torch.ones(3, 2), ["a", "b", "c"]))
    assert told.did == ["ran"] * (WARM_UP_STEPS + 3)


def test_a_form_is_names_order_shapes_and_dtypes() -> None:
    """Whatever it is that differs, it is another form."""
    batch = {"x": torch.ones(2, 3), "y": (torch.ones(2), [torch.ones(1)])}
    assert form_of(batch) == form_of(dict(batch))
    others: list[Any] = [
        {"x": torch.ones(2, 3), "z": batch["y"]},
        {"x": torch.ones(3, 3), "y": batch["y"]},
        {"x": torch.ones(2, 3).double(), "y": batch["y"]},
        {"x": torch.ones(2, 3), "y": [torch.ones(2), [torch.ones(1)]]},
    ]
    assert form_of(batch) not in map(form_of, others)
    assert form_of({"x": torch.ones(1), "note": "text"}) is None


def test_an_optimizer_that_computes_on_the_cpu_is_refused() -> None:
    """Its steps would all be the first one."""
    optimizer = Adagrad(nn.Linear(1, 1).parameters(), lr=0.1)
    with pytest.raises(LearningError, match="Adagrad computes on the CPU in every step"):
        CudaRecorder(optimizer)


MOMENTA: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
]


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("options", MOMENTA, ids=str)
def test_after_its_first_step_sgd_only_changes_what_its_tensors_hold(
    options: dict[str, Any], *, foreach: bool
) -> None:
    """That is what a recording needs: the same memory, and the same numbers, in every step."""
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = SGD(network.parameters(), lr=0.1, foreach=foreach, **options)
    assert state_of(optimizer) == {}

    def step() -> None:
        optimizer.zero_grad()
        network(torch.randn(4, 2)).square().mean().backward()
        optimizer.step()

    step()
    made = state_of(optimizer)
    assert len(made) == (4 if options else 0)
    numbers = [{**group, "params": None} for group in optimizer.param_groups]
    for _ in range(3):
        step()
        check_nothing_began(optimizer, made)
    assert [{**group, "params": None} for group in optimizer.param_groups] == numbers


@pytest.mark.parametrize("kind", [SGD, torch.optim.Adam])
def test_a_recording_in_which_a_parameter_has_its_first_gradient_is_refused(kind: Any) -> None:
    """Replayed, its momentum would begin anew with each step."""
    early, late = nn.Linear(2, 1), nn.Linear(2, 1)
    options = {"momentum": 0.9} if kind is SGD else {}
    optimizer = kind([*early.parameters(), *late.parameters()], lr=0.1, **options)
    early(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    made = state_of(optimizer)
    late(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(LearningError, match=f"first gradient, and {kind.__name__} began"):
        check_nothing_began(optimizer, made)


def images(num_examples: int = 200) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_examples, 6, generator=generator)
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def trained(data: Dataset[Any], opt: Any, *, cuda_graphs: bool) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    # A bias before batch normalisation has a gradient of rounding errors alone, and Adam steps as
    # far for those as for any other.
    linear = nn.Linear(6, 8, bias=False)
    network = nn.Sequential(linear, nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    execution = Execution(device=torch.device("cuda"), cuda_graphs=cuda_graphs)
    history = fit(network, data, 3, 0.05, 16, opt, proximal_mu=0.01, seed=3, execution=execution)
    return history, nn.utils.parameters_to_vector(network.parameters()).detach()


@on_cuda
@pytest.mark.parametrize("opt", ["sgd", partial(SGD, momentum=0.9), "adam", "adamw"])
def test_on_cuda_a_replay_trains_as_the_step_itself(opt: Any) -> None:
    """With a last batch that is smaller, batch normalisation and a proximal term."""
    history, parameters = trained(images(), opt, cuda_graphs=True)
    expected, same = trained(images(), opt, cuda_graphs=False)
    torch.testing.assert_close(parameters, same, rtol=1e-3, atol=1e-4)
    assert history[-1] == pytest.approx(expected[-1], abs=1e-2)


@on_cuda
def test_on_cuda_a_step_that_reads_a_value_is_refused() -> None:
    """It waits for the device, which no graph does; and training goes on without one."""
    network = nn.Linear(6, 2)

    def measure(batch: Any) -> Measured:
        loss = nn.functional.cross_entropy(network(batch[0]), batch[1])
        return loss, {"accuracy": torch.tensor(loss.item())}

    def train(*, cuda_graphs: bool) -> None:
        execution = Execution(device=torch.device("cuda"), cuda_graphs=cuda_graphs)
        fit(network, images(), 1, 0.1, 16, measure=measure, execution=execution)

    with pytest.raises(LearningError, match="cannot be recorded as a CUDA graph"):
        train(cuda_graphs=True)
    train(cuda_graphs=False)
