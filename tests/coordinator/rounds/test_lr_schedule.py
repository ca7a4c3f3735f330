"""Facts about learning rates that follow the version."""

import math

import pytest

from fanfold.coordinator.rounds.lr_schedule import parse_schedule
from fanfold.coordinator.settings import RoundSettings
from fanfold.schemas.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("step:2:0.1", [1, 1, 0.1, 0.1, 0.01]),
        ("exponential:0.5", [1, 0.5, 0.25, 0.125, 0.0625]),
        ("warmup:3", [0.25, 0.5, 0.75, 1, 1]),
        ("warmup:3+linear", [0.25, 0.375, 0.375, 0.25, 0]),
        ("step:1:0", [1, 0, 0, 0, 0]),
    ],
)
def test_a_schedule_is_a_factor_by_version(text: str, expected: list[float]) -> None:
    """Of four rounds; what follows the last one stays where it ended."""
    schedule = parse_schedule(text)
    assert [schedule(version, 4) for version in range(5)] == pytest.approx(expected)
    assert schedule(9, 4) <= expected[-1]


def test_a_run_without_an_end_has_no_division_by_zero() -> None:
    """Nor has one without rounds."""
    assert parse_schedule("cosine+linear")(0, 0) == 1
    assert parse_schedule("cosine")(1000, 2**53) == pytest.approx(1)


@pytest.mark.parametrize(
    "text",
    ["", "sine", "step:2", "step:0:0.5", "step:2:1.5", "exponential:nan", "warmup:x", "linear+"],
)
def test_what_is_no_schedule_is_told(text: str) -> None:
    """With those that there are."""
    with pytest.raises(InvalidInputError, match="is no schedule of learning rates; use constant, "):
        parse_schedule(text)


def test_the_rate_travels_with_the_plan_of_each_version() -> None:
    """Participants need know nothing of schedules."""
    settings = RoundSettings(lr=0.4, lr_schedule="step:5:0.5", rounds=10)
    rates = [settings.plan(version, settings.rounds).lr for version in (0, 4, 5, 9)]
    assert rates == pytest.approx([0.4, 0.4, 0.2, 0.2])
    assert RoundSettings(lr=0.4).plan(7, 10).lr == 0.4
