"""Facts about the numbers of a run: they stay finite, they do not freeze, and else the run ends."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.run_state import DivergedError, RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.persistence.history import read_history
from fanfold.schemas.messages import Update
from tests.coordinator.fake_broker import FakeBroker

INF, NAN = math.inf, math.nan


def run_of(tensors: dict[str, Tensor], optimizer: str = "sgd") -> RunState:
    return RunState(
        run_id="run",
        tensors={name: tensor.clone() for name, tensor in tensors.items()},
        kinds={name: "delta" if name == "w" else "value" for name in tensors},
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer(optimizer),
        limits=UpdateLimits(),
    )


def fold(run: RunState, tensors: dict[str, Tensor], num_examples: int = 1) -> None:
    assert run.inspect(tensors, run.kinds) is None
    sent = Update(
        run="run",
        participant="ann",
        base_version=run.version,
        base_digest="0" * 64,
        num_examples=num_examples,
    )
    run.fold(sent, tensors, "digest")


def restarted(run: RunState, tensors: dict[str, Tensor], optimizer: str = "sgd") -> RunState:
    document, state = run.state()
    again = run_of(tensors, optimizer)
    again.restore(document, {path: tensor.clone() for path, tensor in state.items()})
    return again


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("optimizer", ["adam:lr=0.01", "sgd:lr=1,momentum=0.9", "sgd", "adafactor"])
def test_a_narrow_model_steps_as_a_wide_one_and_is_published_rounded(
    dtype: torch.dtype, optimizer: str
) -> None:
    """Ten rounds, with a restart in the middle of the sixth, are those of float32, rounded."""
    start = {"w": torch.linspace(-1, 1, 12).reshape(3, 4).to(dtype)}
    narrow, wide = run_of(start, optimizer), run_of({"w": start["w"].float()}, optimizer)
    for number in range(10):
        delta = torch.full((3, 4), 1e-3 * (number + 1)).to(dtype)
        fold(narrow, {"w": delta})
        fold(wide, {"w": delta.float()})
        if number == 5:
            narrow = restarted(narrow, start, optimizer)
        narrow.close_round()
        wide.close_round()
        assert torch.equal(narrow.tensors["w"], wide.tensors["w"].to(dtype))
    assert bool(narrow.tensors["w"].isfinite().all())


def test_small_steps_on_a_narrow_model_add_up() -> None:
    """A hundred of 0.001 on 1.0, each of which is less than half of bfloat16's last place."""
    run = run_of({"w": torch.ones(3, dtype=torch.bfloat16)})
    for _ in range(100):
        fold(run, {"w": torch.full((3,), 0.001, dtype=torch.bfloat16)})
        run.close_round()
    assert run.tensors["w"].tolist() == pytest.approx([1.1] * 3, rel=0.005)


def test_a_checkpoint_without_masters_is_gone_on_from() -> None:
    """They begin as what was published."""
    start = {"w": torch.ones(2, dtype=torch.float16)}
    old = run_of(start)
    document, state = old.state()
    again = run_of({"w": torch.zeros(2, dtype=torch.float16)})
    again.restore(document, {path: each for path, each in state.items() if "masters" not in path})
    fold(again, {"w": torch.ones(2, dtype=torch.float16)})
    again.close_round()
    assert again.tensors["w"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("optimizer", "dtype", "start", "delta"),
    [
        ("sgd:lr=3e38", torch.float32, 1.0, 2.0),
        ("sgd:lr=1e30,momentum=0.9", torch.float32, 1e10, 1e9),
        ("adam:lr=1e37", torch.float32, 3.4e38, 1e37),
        ("adagrad:lr=0.1", torch.float32, 1e22, 1e20),
        ("sgd", torch.float32, 3.4e38, 1e37),
        ("sgd", torch.float64, 1.7e308, 1.7e308),
        ("sgd", torch.float16, 60_000.0, 10_000.0),
        ("adam:lr=10000", torch.float16, 60_000.0, 10_000.0),
    ],
)
def test_a_step_that_would_ruin_the_model_is_not_taken(
    optimizer: str, dtype: torch.dtype, start: float, delta: float
) -> None:
    """Not even in part: what else there is, is as before."""
    tensors = {"v": torch.ones(2), "w": torch.full((3,), start, dtype=dtype)}
    run = run_of(tensors, optimizer)
    fold(run, {"v": torch.full((2,), 5.0), "w": torch.full((3,), delta, dtype=dtype)})
    with pytest.raises(DivergedError, match=r"round 1 would make 'w' infinite.*version 0"):
        run.close_round()
    assert run.version == 0
    assert all(torch.equal(run.tensors[name], tensor) for name, tensor in tensors.items())


def test_the_largest_number_is_no_fault() -> None:
    """A step of less than half its last place rounds back to it."""
    most = torch.finfo(torch.float32).max
    run = run_of({"w": torch.full((2,), most)})
    fold(run, {"w": torch.full((2,), 1e31)})
    run.close_round()
    assert run.tensors["w"].tolist() == [most, most]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_begins_infinite_becomes_the_mean_of_what_was_seen(dtype: torch.dtype) -> None:
    """By examples, over those who saw anything; a constant stays; a restart in between or not."""
    start = {"low": torch.tensor([INF, INF, -INF, NAN, 2.0], dtype=dtype)}
    run = run_of(start)
    fold(run, {"low": torch.tensor([4.0, INF, -INF, NAN, 4.0], dtype=dtype)}, num_examples=1)
    run = restarted(run, start)
    fold(run, {"low": torch.tensor([8.0, INF, -INF, NAN, 4.0], dtype=dtype)}, num_examples=3)
    fold(run, {"low": torch.tensor([INF, INF, -INF, NAN, 6.0], dtype=dtype)}, num_examples=4)
    run.close_round()
    expected = torch.tensor([7.0, INF, -INF, NAN, 5.0], dtype=dtype)
    torch.testing.assert_close(run.tensors["low"], expected, rtol=0, atol=0, equal_nan=True)
    fold(run, {"low": torch.tensor([6.0, 3.0, -INF, NAN, 5.0], dtype=dtype)})
    run.close_round()
    expected = torch.tensor([6.0, 3.0, -INF, NAN, 5.0], dtype=dtype)
    torch.testing.assert_close(run.tensors["low"], expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("optimizer", ["sgd", "sgd:lr=1,momentum=0.9", "adam:lr=1"])
def test_an_infinite_constant_among_the_parameters_stays(optimizer: str) -> None:
    """Its delta is infinity less infinity; the others take their steps."""
    run = run_of({"w": torch.tensor([-INF, 1.0])}, optimizer)
    fold(run, {"w": torch.tensor([NAN, 1.0])})
    run.close_round()
    assert run.tensors["w"].tolist() == pytest.approx([-INF, 2.0])


def test_a_run_that_would_be_ruined_ends_in_words_with_the_last_good_model(tmp_path: Path) -> None:
    """Nothing of the bad step is committed: with a lower rate the run goes on from there."""
    broker = FakeBroker(tmp_path)
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version) and None
    with pytest.raises(DivergedError, match=r"version 1, the last good one.*--server-optimizer"):
        broker.run(rounds=3, server_optimizer="adagrad:lr=3e38")
    model = load_file(tmp_path / "model.safetensors")
    committed = load_file(tmp_path / "checkpoint.safetensors")
    for name, tensor in model.items():
        assert bool(tensor.isfinite().all())
        assert torch.equal(tensor, committed[f"parameters/{name}"])
    closed = [each for each in read_history(tmp_path / "history.jsonl") if each["event"] == "round"]
    assert [each["round"] for each in closed] == [1]

    again = FakeBroker(tmp_path)
    again.hello("ann")
    again.on_version = lambda version: again.update("ann", version) and None
    outcome = again.run(rounds=3, server_optimizer="adagrad:lr=0.1")
    assert (outcome.is_finished, outcome.rounds) == (True, 3)
    assert again.all("run_resumed")[0]["version"] == 1
