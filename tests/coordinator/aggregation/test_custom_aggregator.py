"""Facts about the rule of examples/custom_aggregator."""

from pathlib import Path

import pytest
import torch

from fanfold import ByDistance
from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.registry import parse_aggregator
from tests.coordinator.aggregation.small_runs import new_run, publish, send

FOLDER = Path(__file__).parents[3] / "examples" / "custom_aggregator"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    monkeypatch.syspath_prepend(str(FOLDER))


def test_it_is_short() -> None:
    """Under 40 lines, with its words."""
    assert len((FOLDER / "cautious.py").read_text().splitlines()) < 40


def test_an_update_that_points_elsewhere_does_not_count() -> None:
    """However long it is; the others keep their direction."""
    rule = parse_aggregator("cautious:Cautious:0.1")
    assert isinstance(rule, ByDistance)
    updates = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.9, 0.0], [-50.0, 0.0]], dtype=torch.float64)
    coefficients = rule.coefficients(updates @ updates.T, torch.ones(4, dtype=torch.float64))
    assert coefficients[3] == 0
    step = coefficients @ updates
    assert 0.8 < float(step[0]) < 1.1
    assert abs(float(step[1])) < 0.1


def test_it_is_the_rule_of_a_run() -> None:
    """By its name, as the command line takes it."""
    run = new_run(AggregationSettings("cautious:Cautious"))
    publish(run)
    for who, value in (("ann", 1.0), ("bob", 1.0), ("cid", 1.0), ("eve", -30.0)):
        send(run, who, {"w": torch.full((7,), value)})
    shares = {each.participant: each.share for each in run.close_round()}
    assert shares["eve"] == 0
    assert run.tensors["w"].tolist() == pytest.approx([1.0] * 7)
