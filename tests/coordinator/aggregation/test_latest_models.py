"""Facts about the mean of everybody's latest local model."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fanfold.coordinator.aggregation.latest_models import (
    MEAN_GRID,
    LatestModels,
    local_model,
    on_grid,
)
from fanfold.coordinator.aggregation.local_work import work_of


def model(*values: float) -> dict[str, Tensor]:
    return {"w": local_model(None, torch.tensor(values, dtype=torch.float64))}


def test_an_arrival_moves_the_mean_by_its_own_change() -> None:
    """Four equal participants, table (.4,.2,-.6,.1): 0: .3, 0: .2, 0: .1, 2: -.2."""
    table = [model(each) for each in (0.4, 0.2, -0.6, 0.1)]
    latest = LatestModels()
    for each in table:
        latest.add(each, 1)
    seen = [latest.mean("w").item()]
    for participant, value in ((0, 0.3), (0, 0.2), (0, 0.1), (2, -0.2)):
        latest.remove(table[participant], 1)
        table[participant] = model(value)
        latest.add(table[participant], 1)
        seen.append(latest.mean("w").item())
    assert seen == pytest.approx([0.025, 0, -0.025, -0.05, 0.05], abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 60))
def test_it_is_the_mean_of_the_table_to_the_last_bit(seed: int, num: int, arrivals: int) -> None:
    """However often models were replaced and dropped, and in whatever order they are summed."""
    generator = random.Random(seed)
    table: dict[int, tuple[dict[str, Tensor], int]] = {}
    latest = LatestModels()
    for _ in range(num + arrivals):
        who = generator.randrange(num)
        if who in table:
            latest.remove(*table.pop(who))
        if who not in table and (generator.random() < 0.8 or not table):
            values = torch.tensor([generator.gauss(0, 1) for _ in range(5)]).float()
            base = torch.tensor([generator.gauss(0, 1) for _ in range(5)]).float()
            table[who] = {"w": local_model(base, values)}, generator.randint(1, 500)
            latest.add(*table[who])
    order = list(table)
    generator.shuffle(order)
    fresh = LatestModels()
    for who in order:
        fresh.add(*table[who])
    assert torch.equal(latest.mean("w"), fresh.mean("w"))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000))
def test_a_step_to_the_mean_arrives_there(seed: int) -> None:
    """The step from w to u, added to w, u in float64: nothing drifts."""
    generator = torch.Generator().manual_seed(seed)
    before, after = (
        on_grid(torch.randn(50, generator=generator, dtype=torch.float64), MEAN_GRID)
        for _ in range(2)
    )
    here = before.float().double()
    assert torch.equal(here + (after - here), after)


def test_a_tensor_that_nobody_holds_any_more_is_gone() -> None:
    """With the last one who sent it."""
    latest = LatestModels()
    latest.add(model(1.0) | {"head": torch.ones(2)}, 3)
    latest.add(model(2.0), 1)
    assert latest.mean("w").item() == 1.25
    latest.remove(model(1.0) | {"head": torch.ones(2)}, 3)
    assert latest.mean("w").item() == 2.0
    assert "head" not in latest.sums


def test_a_local_model_is_base_plus_delta() -> None:
    """On a grid of 2^-30, in float32; float64 stays what it is."""
    made = local_model(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1e-12]))
    assert made.tolist() == [1.5, 0.0]
    assert made.dtype == torch.float32
    assert local_model(None, torch.ones(1, dtype=torch.float64)).dtype == torch.float64
    assert local_model(torch.ones(1, dtype=torch.bfloat16), torch.ones(1)).dtype == torch.float32


def test_unequal_work_is_normalised() -> None:
    """FedNova, p .25/.75, 2 and 5 steps, from 1 to .6 and -1.0; without and with momentum."""
    for momentum, expected in ((0.0, -0.4875), (0.9, -0.572670362)):
        work = [work_of(steps, momentum) for steps in (2, 5)]
        effective = 0.25 * work[0] + 0.75 * work[1]
        step = effective * (0.25 * (0.6 - 1) / work[0] + 0.75 * (-1 - 1) / work[1])
        assert 1 + step == pytest.approx(expected, abs=1e-9)
