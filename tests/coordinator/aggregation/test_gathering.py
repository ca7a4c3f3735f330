"""Facts about what comes before a rule, what goes around it, and rules that take one at a time."""

import random

import byzfl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.coordinator.aggregation.clipping import Clip, FlTrust
from fanfold.coordinator.aggregation.gathering import Gathering
from fanfold.coordinator.aggregation.mixing import Mixing, buckets, nearest_means, parse_mixing
from fanfold.coordinator.aggregation.robust_rules import (
    CenteredClipping,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
)
from fanfold.schemas.errors import InvalidInputError
from tests.coordinator.aggregation.rule_trials import BLOCKS, Held, combine, random_rows


@pytest.mark.parametrize("block_values", BLOCKS)
@pytest.mark.parametrize("mixed", ["nnm", "bucketing"])
def test_what_comes_before_a_rule_agrees_with_byzfl(mixed: str, block_values: int) -> None:
    """Nearest-neighbour mixing, and buckets in the same order, before a median and before krum."""
    rows = random_rows(seed=7)
    if mixed == "nnm":
        mixing = Mixing(num_hostile=2)
        seen = byzfl.NNM(f=2)(rows.numpy())
    else:
        mixing = Mixing(bucket_size=2)
        matrix = mixing.matrix(torch.zeros(9, 9), seed=1, version=2)
        assert matrix.shape == (5, 9)
        seen = (matrix @ rows).numpy()
    for rule, reference in (
        (Median(), byzfl.Median()),
        (Krum(1, neighbours=1), byzfl.Krum(f=1)),
    ):
        made, _ = combine(rule, rows, mixing=mixing, block_values=block_values)
        expected = torch.from_numpy(np.asarray(reference(seen)))
        torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(BLOCKS[:2]))
def test_blocks_make_no_difference(seed: int, block_values: int) -> None:
    """To 1e-12, whatever the rule, its weights and what comes before it."""
    rows = random_rows(9, 17, seed)
    weights = [1.0, 0.5] * 4 + [0.25]
    for rule in (MultiKrum(1, 3), GeometricMedian(), CenteredClipping(1.0), TrimmedMean(0.3)):
        for mixing in (Mixing(), Mixing(bucket_size=2), Mixing(1, 2), Mixing(2, 1)):
            whole, _ = combine(rule, rows, weights=weights, mixing=mixing)
            parts, _ = combine(
                rule, rows, weights=weights, mixing=mixing, block_values=block_values
            )
            torch.testing.assert_close(parts, whole, atol=1e-9, rtol=0)


def test_what_is_no_delta_takes_the_middle() -> None:
    """Buffers the median of finite values, integers the lower one, whatever the rule."""
    tensors = {"w": torch.zeros(2), "var": torch.zeros(2), "n": torch.tensor(0, dtype=torch.uint16)}
    kinds = {"w": "delta", "var": "value", "n": "value"}
    sent = [
        {"w": torch.ones(2), "var": torch.tensor([float(i), torch.inf if i else 5.0])}
        for i in range(4)
    ]
    for i, each in enumerate(sent):
        each["n"] = torch.tensor(10 * i, dtype=torch.uint16)
    made = Gathering(Krum(0), tensors, kinds).combine(
        [Held(each) for each in sent], [1.0] * 4, holes={}, last_step={}, seed=0, version=0
    )
    assert made.tensors["var"].tolist() == [1.5, 5.0]
    assert made.tensors["n"].item() == 10
    assert made.tensors["n"].dtype == torch.uint16


def test_what_an_update_leaves_out_counts_as_untrained() -> None:
    """A delta of zero; a parameter that nobody sent does not move at all."""
    tensors = {"w": torch.zeros(1), "b": torch.zeros(1), "frozen": torch.zeros(1)}
    sent = [{"w": torch.tensor([float(i)])} for i in (1, 2, 3)]
    sent[2]["b"] = torch.tensor([6.0])
    made = Gathering(Median(), tensors, dict.fromkeys(tensors, "delta")).combine(
        [Held(each) for each in sent], [1.0] * 3, holes={}, last_step={}, seed=0, version=0
    )
    assert {name: each.item() for name, each in made.tensors.items()} == {"w": 2.0, "b": 0.0}


def test_a_hole_does_not_move() -> None:
    """A delta of infinity less infinity is no number, and counts for no distance."""
    tensors = {"w": torch.tensor([1.0, torch.inf])}
    sent = [{"w": torch.tensor([step, torch.nan])} for step in (1.0, 2.0, 3.0)]
    for rule in (Median(), GeometricMedian()):
        made = Gathering(rule, tensors, {"w": "delta"}).combine(
            [Held(each) for each in sent],
            [1.0] * 3,
            holes={"w": torch.tensor([False, True])},
            last_step={},
            seed=0,
            version=0,
        )
        assert made.tensors["w"].tolist() == pytest.approx([2.0, 0.0], abs=1e-9)


def test_buckets_hold_everybody_once_and_change_with_the_round() -> None:
    """The same round draws the same ones, as a replay must."""
    mixing = Mixing(bucket_size=3)
    gram = torch.zeros(10, 10)
    first = mixing.matrix(gram, seed=5, version=1)
    assert first.shape == (4, 10)
    assert first.sum(dim=1).tolist() == pytest.approx([1.0] * 4)
    assert (first > 0).sum(dim=0).tolist() == [1] * 10
    assert torch.equal(first, mixing.matrix(gram, seed=5, version=1))
    assert not torch.equal(first, mixing.matrix(gram, seed=5, version=2))
    assert not torch.equal(first, mixing.matrix(gram, seed=6, version=1))


def test_nearest_neighbour_mixing_leaves_the_far_ones_out() -> None:
    """Of two near points and a far one, the near ones mix with each other."""
    rows = torch.tensor([[0.0], [1.0], [100.0]], dtype=torch.float64)
    assert (nearest_means(rows @ rows.T, 1) @ rows).flatten().tolist() == [0.5, 0.5, 50.5]
    with pytest.raises(ValueError, match="nnm:3 cannot mix 3 updates"):
        nearest_means(rows @ rows.T, 3)


def test_mixing_is_read() -> None:
    """`nnm:F`, and nothing else."""
    assert parse_mixing(None, None) == Mixing()
    assert not parse_mixing(1, None).is_needed
    assert parse_mixing(2, "nnm:1") == Mixing(2, 1)
    for spec in ("nnm", "nnm:-1", "nnm:x", "near:1"):
        with pytest.raises(InvalidInputError, match=r"is not understood; use nnm:F"):
            parse_mixing(None, spec)


def test_a_long_update_is_clipped() -> None:
    """At C, and without C at the median of recent rounds."""
    rule = Clip(2.0)
    assert rule.weigh({"w": torch.tensor([3.0, 4.0])}) == pytest.approx((1, 0.4))
    assert rule.weigh({"w": torch.tensor([1.0, 0.0])}) == (1.0, 1.0)
    assert rule.weigh({"w": torch.zeros(2)}) == (1.0, 1.0)
    rule = Clip()
    for length in (1.0, 2.0, 3.0):
        rule.weigh({"w": torch.tensor([length])})
    rule.close()
    assert rule.weigh({"w": torch.tensor([8.0])}) == pytest.approx((1, 0.25))
    again = Clip()
    again.restore(rule.state())
    assert again.weigh({"w": torch.tensor([8.0])}) == pytest.approx((1, 0.25))


def test_trust_is_the_positive_part_of_the_cosine() -> None:
    """What points elsewhere than the root update counts for nothing; the rest has its length."""
    rule = FlTrust()
    rule.root = {"w": torch.tensor([2.0, 0.0])}
    assert rule.weigh({"w": torch.tensor([3.0, 4.0])}) == pytest.approx((0.6, 2 / 5))
    assert rule.weigh({"w": torch.tensor([-3.0, 4.0])}) == (0.0, pytest.approx(2 / 5))
    assert rule.weigh({"w": torch.zeros(2)}) == (0.0, 0.0)


def test_buckets_are_means_of_their_members() -> None:
    """The last one may be small."""
    matrix = buckets(5, 2, random.Random(0))
    assert sorted((matrix > 0).sum(dim=1).tolist()) == [1, 2, 2]
