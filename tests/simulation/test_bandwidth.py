"""Facts about participants that take time to send and to receive."""

import doctest
from pathlib import Path
from typing import Any

import pytest

from fanfold.coordinator.persistence.history import read_history
from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation import bandwidth, numbers
from fanfold.simulation.bandwidth import links
from fanfold.simulation.numbers import numbers_of
from tests.simulation.test_simulation import TASK, simulated

SIMPLE: dict[str, Any] = {
    "task": TASK,
    "participants": 2,
    "rounds": 3,
    "lr": 0.01,
    "speeds": "constant",
    "example_seconds": 1.0,
}
TRAINING_SECONDS = 3.0
"""Each of two participants has three examples."""


@pytest.mark.parametrize("module", [bandwidth, numbers])
def test_the_examples_run(module: Any) -> None:
    tried = doctest.testmod(module)
    assert tried.attempted
    assert not tried.failed


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("1Mbit", "--bandwidth '1Mbit' is not understood; write UP:DOWN"),
        ("10:20", "--bandwidth '10:20' is not understood"),
        ("0B:1B", "--bandwidth '0B:1B' is not understood"),
        ("1mB:1MB", "--bandwidth '1mB:1MB' is not understood"),
        ("=1B:1B", "--bandwidth '=1B:1B' is not understood"),
        ("a=1B:1B", "--bandwidth 'a' is no list of numbers"),
        ("0-2=1B:1B", "is of a participant 2, and the last of --participants 2 is 1"),
    ],
)
def test_what_is_no_bandwidth_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        links([spec], 2)


@pytest.mark.parametrize("text", ["", "4-0", "1,,2", "-1", "0-", "0-100000", "1.5"])
def test_what_is_no_list_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--seeds"):
        numbers_of(text, "--seeds")


def rounds_of(out: Path, **options: Any) -> tuple[list[dict[str, Any]], str]:
    (outcome,) = simulated(out, **(SIMPLE | options))
    closed = [each for each in read_history(outcome.history) if each["event"] == "round_closed"]
    return closed, outcome.parameters_sha256


def test_a_round_takes_the_slowest_way_there_and_back(tmp_path: Path) -> None:
    """The bytes are those that the history counts; what is learnt is the same."""
    free, learnt = rounds_of(tmp_path / "free")
    assert [closed["seconds"] for closed in free] == [TRAINING_SECONDS] * 3
    rates = ("400B:1kB", "1=100B:200B")
    sent, same = rounds_of(tmp_path / "sent", bandwidth=rates)
    assert same == learnt
    for closed in sent:
        up, down = closed["bytes_up"] / 2, closed["bytes_down"] / 2
        expected = TRAINING_SECONDS + up / 100 + down / 200
        assert closed["seconds"] == pytest.approx(expected, rel=0.02)


def test_a_smaller_encoding_is_faster(tmp_path: Path) -> None:
    options = {"task": f"{TASK.partition(':')[0]}:Wide", "bandwidth": ("100B:100B",)}
    whole, _ = rounds_of(tmp_path / "whole", **options)
    small, _ = rounds_of(tmp_path / "small", **options, encoding="int8")
    saved = whole[0]["seconds"] - small[0]["seconds"]
    assert saved == pytest.approx((whole[0]["bytes_up"] - small[0]["bytes_up"]) / 2 / 100, rel=0.1)
