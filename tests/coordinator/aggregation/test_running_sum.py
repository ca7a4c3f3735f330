"""Facts about the running sum of a round: the formula to the letter, and what it leaves alone."""

from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.running_sum import RunningSum
from fanfold.coordinator.aggregation.server_optimizer import ServerOptimizer
from fanfold.coordinator.aggregation.staleness import parse_staleness

Update = tuple[Mapping[str, Tensor], int, float]


def aggregated(
    tensors: Mapping[str, Tensor], kinds: Mapping[str, str], updates: Sequence[Update]
) -> dict[str, Tensor]:
    """Return what one round of plain averaging makes of copies of `tensors`."""
    result = {name: tensor.clone() for name, tensor in tensors.items()}
    running = RunningSum(result, kinds)
    for update, num_examples, weight in updates:
        running.fold(update, num_examples=num_examples, weight=weight)
    ServerOptimizer(parse_optimizer("sgd"), result, kinds).apply(running)
    return result


def test_the_documented_example() -> None:
    """From 1.0, deltas .3, -.1 and .4 of equal weight, 0, 1 and 3 versions late: 1.143096."""
    weight = parse_staleness("polynomial:0.5")
    start = {"w": torch.tensor([1.0])}
    deltas = [(0.3, 0), (-0.1, 1), (0.4, 3)]
    updates = [({"w": torch.tensor([delta])}, 10, weight(tau)) for delta, tau in deltas]
    assert aggregated(start, {"w": "delta"}, updates)["w"].item() == pytest.approx(
        1.143096, abs=5e-7
    )


def test_the_formula_to_the_letter() -> None:
    """sum(n s delta) / sum(n): staleness shrinks the step, and does not cancel out."""
    start = {"w": torch.zeros(2, dtype=torch.float64)}
    updates: list[Update] = [
        ({"w": torch.tensor([1.0, -2.0], dtype=torch.float64)}, 3, 1.0),
        ({"w": torch.tensor([5.0, 4.0], dtype=torch.float64)}, 1, 0.5),
    ]
    expected = [(3 * 1.0 * 1.0 + 1 * 0.5 * 5.0) / 4, (3 * 1.0 * -2.0 + 1 * 0.5 * 4.0) / 4]
    assert aggregated(start, {"w": "delta"}, updates)["w"].tolist() == expected


def test_each_tensor_is_averaged_over_those_who_sent_it() -> None:
    """A partial update counts only for what it holds."""
    start = {"a": torch.zeros(1), "b": torch.zeros(1)}
    updates: list[Update] = [
        ({"a": torch.tensor([2.0]), "b": torch.tensor([2.0])}, 1, 1.0),
        ({"a": torch.tensor([8.0])}, 2, 1.0),
    ]
    result = aggregated(start, {"a": "delta", "b": "delta"}, updates)
    assert (result["a"].item(), result["b"].item()) == (6.0, 2.0)


def test_a_floating_buffer_moves_toward_what_was_seen() -> None:
    """B + sum(n s (v - b)) / sum(n): a stale variance cannot turn negative."""
    start = {"running_var": torch.tensor([4.0])}
    updates: list[Update] = [
        ({"running_var": torch.tensor([0.0])}, 1, 0.5),
        ({"running_var": torch.tensor([0.0])}, 1, 1.0),
    ]
    assert aggregated(start, {"running_var": "value"}, updates)["running_var"].item() == 1.0


@pytest.mark.parametrize(
    "dtype",
    [
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    ],
)
def test_integers_keep_their_dtype_and_take_the_largest(dtype: torch.dtype) -> None:
    """Also where what is there is larger than anything that was sent."""
    start = {"count": torch.tensor([5, 1], dtype=dtype)}
    updates: list[Update] = [
        ({"count": torch.tensor([3, 7], dtype=dtype)}, 1, 1.0),
        ({"count": torch.tensor([4, 6], dtype=dtype)}, 100, 0.1),
    ]
    result = aggregated(start, {"count": "value"}, updates)["count"]
    assert result.dtype == dtype
    assert result.tolist() == [5, 7]


def test_large_integers_lose_nothing() -> None:
    """2**53 + 1 has no float64, and must not pass through one."""
    start = {"count": torch.tensor(0)}
    result = aggregated(start, {"count": "value"}, [({"count": torch.tensor(2**53 + 1)}, 1, 1.0)])
    assert result["count"].item() == 2**53 + 1


def test_booleans_become_true_once_somebody_says_so() -> None:
    """The largest of false and true is true."""
    start = {"seen": torch.tensor([False, False, True])}
    sent = {"seen": torch.tensor([False, True, False])}
    result = aggregated(start, {"seen": "value"}, [(sent, 1, 1.0)])["seen"]
    assert result.dtype == torch.bool
    assert result.tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_tensors_keep_their_dtype(dtype: torch.dtype) -> None:
    """Sums are float64, the result is rounded once."""
    start = {"w": torch.ones(3, dtype=dtype)}
    result = aggregated(
        start, {"w": "delta"}, [({"w": torch.full((3,), 0.5, dtype=dtype)}, 7, 1.0)]
    )
    assert result["w"].dtype == dtype
    assert result["w"].tolist() == [1.5] * 3


def test_what_nobody_sent_stays_bit_for_bit() -> None:
    """Not even a -0.0 becomes a 0.0."""
    start = {"a": torch.tensor([-0.0, 1e-45]), "b": torch.zeros(1)}
    result = aggregated(start, {"a": "delta", "b": "delta"}, [({"b": torch.ones(1)}, 1, 1.0)])
    assert result["a"].view(torch.int32).tolist() == start["a"].view(torch.int32).tolist()


def test_empty_and_scalar_tensors_are_welcome() -> None:
    """They have a shape like any other."""
    start = {"empty": torch.empty(0, 3), "scalar": torch.tensor(1.0)}
    sent = {"empty": torch.empty(0, 3), "scalar": torch.tensor(0.5)}
    result = aggregated(start, dict.fromkeys(start, "delta"), [(sent, 2, 1.0)])
    assert result["empty"].shape == (0, 3)
    assert result["scalar"].item() == 1.5


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Update], list[int]]:
    """Updates of three values each, and another order of them."""
    num_updates = draw(st.integers(1, 6))
    values = st.floats(-1e3, 1e3, width=32)
    updates: list[Update] = [
        (
            {"w": torch.tensor(draw(st.lists(values, min_size=3, max_size=3)))},
            draw(st.integers(1, 10**6)),
            (1 + draw(st.integers(0, 20))) ** -0.5,
        )
        for _ in range(num_updates)
    ]
    return updates, draw(st.permutations(range(num_updates)))


@settings(max_examples=100)
@given(rounds())
def test_the_order_of_folding_is_worth_one_unit_in_the_last_place(
    drawn: tuple[list[Update], list[int]],
) -> None:
    """And the same order gives the same bits."""
    updates, order = drawn
    start = {"w": torch.tensor([1.0, -2.5, 1e-3])}
    once = aggregated(start, {"w": "delta"}, updates)["w"]
    again = aggregated(start, {"w": "delta"}, updates)["w"]
    shuffled = aggregated(start, {"w": "delta"}, [updates[index] for index in order])["w"]

    assert torch.equal(once.view(torch.int32), again.view(torch.int32))
    away = torch.nextafter(once, torch.full_like(once, torch.inf))
    toward = torch.nextafter(once, torch.full_like(once, -torch.inf))
    assert bool(((shuffled >= toward) & (shuffled <= away)).all())


def test_a_sum_may_take_the_memory_of_one_that_is_used_up() -> None:
    """The same bits come out, of values and of deltas."""
    tensors = {"w": torch.linspace(-1, 1, 7), "mean": torch.ones(3)}
    kinds = {"w": "delta", "mean": "value"}
    updates = [{name: torch.rand(tensor.shape) for name, tensor in tensors.items()} for _ in "123"]
    old = RunningSum(tensors, kinds)
    old.fold(updates[0], num_examples=3, weight=0.5)
    for name in tensors:
        old.step(name)
    fresh, reused = RunningSum(tensors, kinds), RunningSum(tensors, kinds, room=old.spent)
    for update in updates[1:]:
        for each in (fresh, reused):
            each.fold(update, num_examples=2, weight=1.0)
    for name in tensors:
        assert reused.sums[name].data_ptr() == old.spent[name].data_ptr()
        assert torch.equal(reused.step(name), fresh.step(name))
