"""Facts about exact asynchrony over the broker: who is fast pulls no harder than who is slow."""

from collections import Counter
from typing import Any

import pytest

from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.coordinator.persistence.history import read_history

# Rounds by the hundred, with a participant that sleeps: minutes.
pytestmark = pytest.mark.slow


def trained(live: Any, task: str, mode: str, slow_updates: int) -> tuple[float, dict[str, int]]:
    """Let both train until the slow one has counted so often.

    Return where the weight is then, and how often each was counted.
    """
    path = f"tests.federation.two_slopes:{task}"
    coordinator = live.coordinator(
        path, mode=mode, rounds=1_000_000, min_participants=2, lr=0.1, momentum=0.0
    )
    for index in range(2):
        live.participant(path, index, 2)
    while times_counted(live)["p1"] < slow_updates:
        coordinator.wait_for("round_closed", times=len(coordinator.all("round_closed")) + 1)
    coordinator.stop("enough")
    assert not coordinator.result.result(90).is_finished
    checkpoint = CheckpointStore(live.out).peek()
    assert checkpoint is not None
    return float(checkpoint.tensors["parameters/weight"]), times_counted(live)


def times_counted(live: Any) -> Counter[str]:
    return Counter(
        update["participant"]
        for record in read_history(live.out / "history.jsonl")
        if record["event"] == "round"
        for update in record["updates"]
    )


def test_exact_asynchrony_ends_at_the_mean_of_both(live: Any) -> None:
    """Within 0.02 of 0, though one of them sends several times as often as the other."""
    end, counted = trained(live, "TwoSlopes", "exact", 40)
    assert counted["p0"] > 3 * counted["p1"]
    assert abs(end) < 0.02


def test_plain_asynchrony_ends_near_the_fast_one(live: Any) -> None:
    """At 0.8 or more: whoever sends more often pulls harder."""
    end, _ = trained(live, "TwoSlopes", "async", 12)
    assert end >= 0.8


def test_exact_asynchrony_weighs_by_examples(live: Any) -> None:
    """With three times as many at the slow one: -0.5, and nowhere else."""
    end, _ = trained(live, "ThreeToOne", "exact", 120)
    assert end == pytest.approx(-0.5, abs=0.02)
