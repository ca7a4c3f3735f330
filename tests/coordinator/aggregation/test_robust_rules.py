"""Facts about rules that hostile updates cannot move far: vectors, and the reference package."""

from typing import Any

import byzfl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fanfold.coordinator.aggregation.aggregator import ByDistance
from fanfold.coordinator.aggregation.robust_rules import (
    CenteredClipping,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
    weiszfeld,
)
from tests.coordinator.aggregation.rule_trials import BLOCKS, combine, random_rows

REFERENCES: list[tuple[str, Any, Any]] = [
    ("median", Median(), byzfl.Median()),
    ("trimmed mean", TrimmedMean(0.23), byzfl.TrMean(f=2)),
    ("krum", Krum(2, neighbours=1), byzfl.Krum(f=2)),
    ("multi-krum", MultiKrum(2, 7, neighbours=1), byzfl.MultiKrum(f=2)),
    ("centered clipping", CenteredClipping(3.0), byzfl.CenteredClipping(tau=3.0)),
]


@pytest.mark.parametrize("block_values", BLOCKS)
@pytest.mark.parametrize(
    ("rule", "reference"), [each[1:] for each in REFERENCES], ids=[each[0] for each in REFERENCES]
)
def test_it_agrees_with_byzfl(rule: Any, reference: Any, block_values: int) -> None:
    """To 1e-6 on random inputs, in blocks or whole."""
    for seed in range(5):
        rows = random_rows(seed=seed)
        reference.m = None  # centered clipping starts at the origin, as ours does
        expected = torch.from_numpy(reference(rows.numpy()))
        made, _ = combine(rule, rows, block_values=block_values)
        torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("block_values", BLOCKS)
def test_the_geometric_median_agrees_with_byzfl(block_values: int) -> None:
    """With the same smoothing, start and number of steps."""

    class Smoothed(ByDistance):
        def coefficients(self, gram: Tensor, weights: Tensor) -> Tensor:
            start = torch.zeros(len(gram), dtype=torch.float64)
            return weiszfeld(gram, weights, start, smallest=0.1, steps=3)

    for seed in range(5):
        rows = random_rows(seed=seed)
        expected = torch.from_numpy(byzfl.GeometricMedian(nu=0.1, T=3)(rows.numpy()))
        made, _ = combine(Smoothed(), rows, block_values=block_values)
        torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)


def test_the_geometric_median_may_be_one_of_the_points() -> None:
    """Of (1,0), (.8,.2), (1.2,-.1), (-10,10) it is (.8,.2)."""
    rows = torch.tensor([[1, 0], [0.8, 0.2], [1.2, -0.1], [-10, 10]], dtype=torch.float64)
    made, shares = combine(GeometricMedian(), rows)
    assert made.tolist() == pytest.approx([0.8, 0.2], abs=1e-9)
    assert shares == [0, 1, 0, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 9), st.integers(2, 6))
def test_nothing_near_the_geometric_median_is_better(seed: int, num: int, size: int) -> None:
    """Its weighted sum of distances is smallest, within what a float can tell."""
    rows = random_rows(num, size, seed)
    weights = random_rows(1, num, seed + 1)[0].abs().clamp(min=0.1)
    made, _ = combine(GeometricMedian(), rows, weights=weights.tolist())

    def cost(point: Tensor) -> float:
        return float((weights * (rows - point).norm(dim=1)).sum())

    generator = torch.Generator().manual_seed(seed)
    for scale in (1e-1, 1e-3):
        moved = made + scale * torch.randn(size, generator=generator, dtype=torch.float64)
        assert cost(made) <= cost(moved) + 1e-7


def test_centered_clipping_moves_the_last_step() -> None:
    """The points of before, v = (.9,.1), tau .5, one step: (.88246909, .13404184)."""
    rows = torch.tensor([[1, 0], [0.8, 0.2], [1.2, -0.1], [-10, 10]], dtype=torch.float64)
    last = torch.tensor([0.9, 0.1], dtype=torch.float64)
    made, shares = combine(CenteredClipping(0.5), rows, last_step=last)
    assert made.tolist() == pytest.approx([0.88246909, 0.13404184], abs=1e-8)
    assert shares[:3] == [0.25] * 3
    assert 0 < shares[3] < 0.01


def test_centered_clipping_at_the_median_distance_clips_the_further_half() -> None:
    """Where no tau is given."""
    rows = torch.tensor([[1.0, 0], [0, 2.0], [0, -3.0], [40.0, 0]], dtype=torch.float64)
    _, shares = combine(CenteredClipping(), rows)
    assert shares == pytest.approx([0.25, 0.25, 0.25 * 2.5 / 3, 0.25 * 2.5 / 40])


def test_krum_is_blanchards() -> None:
    """With f 2, of 1.00, 1.10, .90, 1.04, .97, 10, -10 it is 1.04: n - f - 2 neighbours."""
    rows = torch.tensor([[1.00], [1.10], [0.90], [1.04], [0.97], [10], [-10]], dtype=torch.float64)
    made, shares = combine(Krum(2), rows)
    assert made.tolist() == [1.04]
    assert shares == [0, 0, 0, 1, 0, 0, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_the_order_of_updates_makes_no_difference(seed: int, num_hostile: int) -> None:
    """Shares move with their updates."""
    rows = random_rows(2 * num_hostile + 3, 5, seed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    for rule in (Median(), TrimmedMean(0.3), MultiKrum(num_hostile, 2), GeometricMedian()):
        made, shares = combine(rule, rows)
        again, moved = combine(rule, rows[order])
        torch.testing.assert_close(again, made, atol=1e-9, rtol=0)
        torch.testing.assert_close(
            torch.tensor(moved), torch.tensor(shares)[order], atol=1e-7, rtol=0
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(10, 1e6))
def test_two_hostile_of_nine_move_no_rule_far(seed: int, scale: float) -> None:
    """The step stays among the honest ones, however far away the hostile ones are."""
    rows = random_rows(9, 5, seed)
    honest = rows[2:]
    rows[:2] = scale * (1 + rows[:2].abs())
    farthest = float(honest.norm(dim=1).max())
    for rule in (Median(), TrimmedMean(0.25), Krum(2), MultiKrum(2, 3), GeometricMedian()):
        made, _ = combine(rule, rows)
        assert float(made.norm()) <= 3 * farthest


def test_what_a_median_is_made_of_is_told() -> None:
    """Of how many coordinates each update is part: the middle one, or the two middle ones."""
    rows = torch.tensor([[1.0, 9, 1, 1], [2, 2, 2, 9], [3, 3, 3, 3]], dtype=torch.float64)
    made, shares = combine(Median(), rows)
    assert made.tolist() == [2, 3, 2, 3]
    assert shares == [0, 0.5, 0.5]
