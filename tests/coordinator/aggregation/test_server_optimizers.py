"""Facts about the server's step: torch's optimizers, with minus the round's step as gradient."""

import contextlib

import pytest
import torch
from torch import Tensor

from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.running_sum import RunningSum
from fanfold.coordinator.aggregation.server_optimizer import ServerOptimizer
from fanfold.schemas.errors import InvalidInputError


class Centre:
    """One tensor and a server optimizer; each round has one update of it, or none."""

    def __init__(self, spec: str, start: Tensor) -> None:
        self.tensors = {"w": start.clone(), "count": torch.tensor(0)}
        self.kinds = {"w": "delta", "count": "value"}
        self.optimizer = ServerOptimizer(parse_optimizer(spec), self.tensors, self.kinds)

    def round(self, delta: Tensor | None) -> Tensor:
        running = RunningSum(self.tensors, self.kinds)
        update = {"count": self.tensors["count"] + 1}
        running.fold(update | ({} if delta is None else {"w": delta}), num_examples=3, weight=1.0)
        self.optimizer.apply(running)
        return self.tensors["w"].clone()


@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        ("sgd:lr=1,momentum=0.9", lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9)),
        ("sgd:lr=0.5", lambda p: torch.optim.SGD(p, lr=0.5)),
        (
            "sgd:lr=1,momentum=0.9,nesterov=true",
            lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True),
        ),
        (
            "adam:lr=0.01,betas=0.9/0.99",
            lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.99)),
        ),
        ("adagrad:lr=0.1", lambda p: torch.optim.Adagrad(p, lr=0.1)),
        ("AdamW", torch.optim.AdamW),
    ],
)
def test_it_is_torchs_optimizer(spec: str, reference: object) -> None:
    """Three rounds equal three steps of torch.optim, bit for bit."""
    start = torch.linspace(-1, 1, 5)
    centre = Centre(spec, start)
    parameter = torch.nn.Parameter(start.clone())
    optimizer = reference([parameter])
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        delta = torch.randn(5, generator=generator)
        parameter.grad = (delta.double() * 3 / 3).neg().float()
        optimizer.step()
        assert torch.equal(centre.round(delta), parameter.detach())


def test_plain_averaging_is_sgd_with_a_learning_rate_of_one() -> None:
    """To one unit in the last place: it adds in float64 and rounds once."""
    start = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    delta = torch.randn(1000, generator=torch.Generator().manual_seed(2)) / 7
    parameter = torch.nn.Parameter(start.clone())
    parameter.grad = -delta
    torch.optim.SGD([parameter], lr=1.0).step()
    ours, theirs = Centre("sgd:lr=1", start).round(delta), parameter.detach()
    up = torch.nextafter(theirs, torch.full_like(theirs, torch.inf))
    down = torch.nextafter(theirs, torch.full_like(theirs, -torch.inf))
    assert bool(((ours >= down) & (ours <= up)).all())


def test_what_nobody_sent_keeps_its_momentum_too() -> None:
    """A round without the tensor changes neither it nor its optimizer state."""
    centre = Centre("sgd:lr=1,momentum=0.9", torch.ones(2))
    before = centre.round(torch.tensor([0.5, -0.5]))
    state = {path: value.clone() for path, value in centre.optimizer.state().items()}
    assert torch.equal(centre.round(None), before)
    assert state.keys() == centre.optimizer.state().keys()
    assert all(torch.equal(value, centre.optimizer.state()[path]) for path, value in state.items())
    assert centre.tensors["count"].item() == 2


def test_state_survives_a_restart() -> None:
    """Two rounds, and one round, a restart and one round, end in the same bits."""
    deltas = [torch.tensor([0.5]), torch.tensor([-0.25])]
    through = Centre("adam:lr=0.1", torch.ones(1))
    first = Centre("adam:lr=0.1", torch.ones(1))
    for delta in deltas:
        expected = through.round(delta)
    second = Centre("adam:lr=0.1", first.round(deltas[0]))
    second.optimizer.load_state(first.optimizer.state())
    assert torch.equal(second.round(deltas[1]), expected)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("adam", "sgd"),
        ("adam", "sgd:momentum=0.9"),
        ("sgd:momentum=0.9", "adam"),
        ("sgd:momentum=0.9", "sgd:lr=0.5"),
        ("adam", "adam:amsgrad=true"),
    ],
)
def test_state_of_another_optimizer_is_refused(before: str, after: str) -> None:
    """Dropping momentum silently would be another run, and half of it an error in every round."""
    first = Centre(before, torch.ones(1))
    first.round(torch.ones(1))
    with pytest.raises(InvalidInputError, match="resume with the server optimizer the run had"):
        Centre(after, torch.ones(1)).optimizer.load_state(first.optimizer.state())


@pytest.mark.parametrize(
    "spec",
    [
        "adam",
        "adamw",
        "adamax",
        "nadam",
        "radam",
        "adagrad",
        "adadelta",
        "rmsprop",
        "rprop",
        "asgd",
        "adafactor",
        "adafactor:lr=0.1,beta2_decay=-0.5",
        "sgd:momentum=0.9",
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 1), (3, 4), (1, 4), (2, 3, 4, 5)])
def test_its_own_state_is_never_refused(spec: str, shape: tuple[int, ...]) -> None:
    """Whatever it keeps for this shape; and it goes on bit for bit."""
    first = Centre(spec, torch.ones(shape))
    expected = first.round(torch.ones(shape))
    second = Centre(spec, expected)
    second.optimizer.load_state(first.optimizer.state())
    assert torch.equal(second.round(torch.ones(shape)), first.round(torch.ones(shape)))


def test_no_optimizer_of_torch_is_left_out_of_the_restarts() -> None:
    """A new one comes with a new torch, and may keep what no other one keeps."""
    accepted = set()
    for name, value in vars(torch.optim).items():
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer):
            with contextlib.suppress(InvalidInputError):
                accepted.add(parse_optimizer(name).name.lower())
    (shapes,) = (
        mark.args[1]
        for mark in test_its_own_state_is_never_refused.pytestmark
        if mark.args[0] == "spec"
    )
    assert accepted == {spec.partition(":")[0] for spec in shapes}


def test_a_run_without_state_goes_on_with_any_optimizer() -> None:
    """Which begins then, as it would have in the first round."""
    plain = Centre("sgd", torch.ones(1))
    plain.round(torch.ones(1))
    adam = Centre("adam", torch.ones(1))
    adam.optimizer.load_state(plain.optimizer.state())
    assert torch.equal(
        adam.round(torch.ones(1)), Centre("adam", torch.ones(1)).round(torch.ones(1))
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("lbfgs", "no dense torch.optim class without a closure"),
        ("sparseadam", "no dense torch.optim class without a closure"),
        ("magic:lr=1", "no dense torch.optim class without a closure"),
        ("sgd:lr=fast", "must read name=number"),
        ("sgd:lr=-1", "is refused by torch: Invalid learning rate"),
        ("adam:wings=2", "is refused by torch"),
        ("sgd:lr=1e39", "is refused by torch: value cannot be converted"),
        ("adam:lr=1e39", "is refused by torch: value cannot be converted"),
        ("sgd:lr=nan", "'lr=nan' must be finite"),
        ("adam:betas=0.9/inf", "'betas=0.9/inf' must be finite"),
    ],
)
def test_bad_specs_are_refused_in_one_sentence(spec: str, sentence: str) -> None:
    """Before the run begins."""
    with pytest.raises(InvalidInputError, match=sentence):
        parse_optimizer(spec)


@pytest.mark.parametrize("name", ["fedadagrad", "fedyogi", "fedadam", "fadas"])
def test_an_optimizer_of_a_paper_resumes_and_has_masters(name: str) -> None:
    """Its state goes into the checkpoint, and 16-bit tensors are moved in float32."""
    start = torch.ones(4, dtype=torch.bfloat16)
    whole, first = Centre(f"{name}:lr=0.001", start), Centre(f"{name}:lr=0.001", start)
    deltas = [torch.full((4,), value, dtype=torch.bfloat16) for value in (0.5, -0.25, 0.125)]
    for delta in deltas:
        whole.round(delta)
    first.round(deltas[0])
    second = Centre(f"{name}:lr=0.001", first.tensors["w"])
    second.optimizer.masters["w"].copy_(first.optimizer.masters["w"])
    second.optimizer.load_state(first.optimizer.state())
    for delta in deltas[1:]:
        second.round(delta)
    assert torch.equal(second.optimizer.masters["w"], whole.optimizer.masters["w"])
    assert not torch.equal(whole.optimizer.masters["w"], torch.ones(4))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("fedadam:tau=0", "is refused: tau must be a number above 0"),
        ("fadas:wings=2", "is refused: .*unexpected keyword argument"),
        ("fedyogi:betas=0.9", "is refused: betas must be two numbers"),
    ],
)
def test_bad_arguments_of_a_papers_optimizer_are_refused(spec: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        parse_optimizer(spec)


def test_a_papers_step_that_is_not_finite_is_not_taken() -> None:
    """The tensor that would break is named, and stays as it was."""
    centre = Centre("fedadagrad:lr=3e38", torch.full((2,), 3.39e38))
    running = RunningSum(centre.tensors, centre.kinds)
    running.fold({"w": torch.ones(2)}, num_examples=1, weight=1.0)
    assert centre.optimizer.apply(running) == "w"
    assert torch.equal(centre.tensors["w"], torch.full((2,), 3.39e38))
