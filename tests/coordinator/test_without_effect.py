"""Facts about options that change nothing in what else was chosen: they are named, with why."""

import doctest
from typing import Any

import pytest

from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.settings import without_effect as module
from fanfold.coordinator.settings.without_effect import without_effect


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"staleness": "constant"}, ["--staleness"]),
        ({"staleness": "constant", "mode": "async"}, []),
        ({"staleness": "constant", "max_staleness": 2}, []),
        ({"goal": 2, "quorum": 3}, ["--goal"]),
        ({"goal": 3, "quorum": 3}, []),
        ({"steps": 9, "epochs": 2}, ["--epochs"]),
        ({"optimizer": "adam", "momentum": 0.5}, ["--momentum"]),
        ({"optimizer": "SGD", "momentum": 0.5}, []),
        ({"dp_delta": 1e-6, "dp_divisor": 3}, ["--dp-delta", "--dp-divisor"]),
        ({"until_accuracy": 0.9, "evaluate_every": 5}, []),
    ],
)
def test_an_option_without_effect_is_named(given: dict[str, Any], expected: list[str]) -> None:
    assert [*without_effect(CoordinatorSettings(**given), can_evaluate=True)] == expected


def test_nothing_waits_for_an_accuracy_that_nobody_measures() -> None:
    """Without held-out data, or with private tensors, there is none at the centre."""
    settings = CoordinatorSettings(until_accuracy=0.9, evaluate_every=5)
    found = without_effect(settings, can_evaluate=False)
    assert [*found] == ["--until-accuracy", "--evaluate-every"]
    assert without_effect(CoordinatorSettings(), can_evaluate=False) == {}


def test_the_example_runs() -> None:
    tried = doctest.testmod(module)
    assert tried.attempted
    assert not tried.failed
