"""Facts about what a region tells of a round: nothing but what a coordinator would make of it."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fanfold.coordinator.aggregation.running_sum import RunningSum, holes_of
from fanfold.region.sums import fixed_sum, mean_of
from fanfold.schemas.fixed_point import EXAMPLES

KINDS = {"weight": "delta", "mean": "value", "count": "value", "cache": "value"}
numbers = st.floats(-8, 8, width=32)


def tensors(weight: float, mean: float, count: int, cache: float) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.tensor([weight]),
        "mean": torch.tensor([mean]),
        "count": torch.tensor([count]),
        "cache": torch.tensor([cache]),
    }


updates = st.tuples(
    st.builds(tensors, numbers, numbers, st.integers(0, 99), numbers), st.integers(1, 50)
)


@given(st.lists(st.lists(updates, min_size=1, max_size=4), min_size=1, max_size=3))
def test_means_of_regions_make_the_step_of_all_their_participants(regions: list[list]) -> None:
    """Weighed by their examples; a buffer that is not finite yet begins anew, too."""
    base = tensors(1.0, 2.0, 3, float("inf"))
    holes = holes_of(base)
    flat, above = RunningSum(base, KINDS, holes), RunningSum(base, KINDS, holes)
    for region in regions:
        below = RunningSum(base, KINDS, holes)
        for update, examples in region:
            flat.fold(update, num_examples=examples, weight=1.0)
            below.fold(update, num_examples=examples, weight=1.0)
        told, kinds = mean_of(below)
        assert kinds == KINDS
        assert {name: each.dtype for name, each in told.items()} == {
            name: each.dtype for name, each in base.items()
        }
        examples = sum(examples for _, examples in region)
        above.fold(told, num_examples=examples, weight=1.0)
    assert above.sums["count"].equal(flat.sums["count"])
    for name in ("weight", "mean", "cache"):
        torch.testing.assert_close(above.step(name), flat.step(name), rtol=0, atol=2e-5)


def test_a_mean_leaves_the_sum_as_it_is() -> None:
    """The same sum is told again after a crash."""
    running = RunningSum({"weight": torch.zeros(2)}, {"weight": "delta"})
    running.fold({"weight": torch.tensor([1.0, 2.0])}, num_examples=3, weight=1.0)
    first, _ = mean_of(running)
    again, _ = mean_of(running)
    assert first["weight"].equal(again["weight"])
    assert running.sums["weight"].tolist() == [3.0, 6.0]


def test_integers_are_told_as_they_are() -> None:
    """So that the sum above is the one of all participants, bit for bit."""
    sums = {"weight": torch.tensor([7], dtype=torch.int32), EXAMPLES: torch.tensor(9).int()}
    told, kinds = fixed_sum(sums)
    assert told == sums
    assert kinds == {"weight": "delta", EXAMPLES: "value"}
