"""Facts about runs that end before their last round, because of what was measured."""

from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.persistence.history import read_history
from fanfold.schemas.errors import InvalidInputError
from tests.coordinator.fake_broker import FakeBroker
from tests.federation.tiny_tasks import Tiny

VALUES = {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.0, 5: 0.5}


class Scripted(Tiny):
    """Measures what is written above, and less with every further version."""

    def __init__(self, begin: int = 0) -> None:
        super().__init__()
        self.version = begin

    def evaluate(self, network: Any, data: Any) -> dict[str, float]:
        self.version += 1
        return {"error": VALUES.get(self.version, 0.5 / self.version)}


def ran(
    folder: Path, *, begin: int = 0, stop_at: int | None = None, **settings: Any
) -> tuple[RunResult, FakeBroker]:
    """Train one participant; it answers a version when that was evaluated."""
    broker = FakeBroker(folder)
    broker.hello("ann")

    def answer(event: str) -> None:
        if event == "round_closed":
            version = broker.all("round_closed")[-1]["version"]
            if version == stop_at:
                broker.stop()
            elif version in broker.base_digests:  # the last one is not published
                broker.update("ann", version)

    broker.on_version = lambda version: broker.update("ann", version) if version == begin else None
    broker.on_said = answer
    given = {"rounds": 9, "metric": "error:min"} | settings
    return broker.run(Scripted(begin), **given), broker


def best_of(folder: Path) -> tuple[str, str]:
    with safe_open(folder / "best.safetensors", "pt") as file:
        metadata = file.metadata()
        return metadata["version"], metadata["error"]


PATIENCE_2 = (
    "error was no better in 2 evaluations in a row (--patience 2); its best is 1, of version 2"
)


def test_a_run_ends_in_order_when_patience_is_over(tmp_path: Path) -> None:
    """It says so when it happens and at the end, and its history keeps it."""
    outcome, broker = ran(tmp_path, patience=2)
    assert outcome.is_finished
    assert outcome.rounds == 4
    assert outcome.reason == outcome.event().reason == PATIENCE_2
    assert broker.all("ends_early") == [{"version": 4, "reason": PATIENCE_2}]
    ends = [each for each in read_history(tmp_path / "history.jsonl") if "reason" in each]
    assert ends == [{"event": "ends_early", "version": 4, "reason": PATIENCE_2}]
    assert best_of(tmp_path) == ("2", "1.0")
    assert outcome.model.exists()


def test_a_goal_ends_the_run_and_the_best_version_is_kept(tmp_path: Path) -> None:
    outcome, _ = ran(tmp_path, until="error:0.5")
    assert (outcome.rounds, outcome.reason) == (5, "error reached 0.5 (--until error:0.5)")
    assert best_of(tmp_path) == ("5", "0.5")


def test_a_run_that_ends_with_its_last_round_has_no_other_reason(tmp_path: Path) -> None:
    outcome, broker = ran(tmp_path, rounds=5)
    assert outcome.reason is None
    assert broker.all("ends_early") == []
    assert "reason" not in outcome.event().document()


def test_patience_outlives_a_restart(tmp_path: Path) -> None:
    """One evaluation without a better value before it, one after it."""
    first, _ = ran(tmp_path, patience=2, stop_at=3)
    assert (first.is_finished, first.rounds) == (False, 3)
    outcome, _ = ran(tmp_path, begin=3, patience=2)
    assert (outcome.is_finished, outcome.rounds, outcome.reason) == (True, 4, PATIENCE_2)


def test_a_run_that_ended_goes_on_only_with_more_patience(tmp_path: Path) -> None:
    ended, _ = ran(tmp_path, patience=2)
    again, _ = ran(tmp_path, begin=4, patience=2)
    assert (again.is_finished, again.rounds) == (True, 4)
    assert again.parameters_sha256 == ended.parameters_sha256
    longer, _ = ran(tmp_path, begin=4, patience=3, rounds=6)
    assert (longer.rounds, longer.reason) == (6, None)
    assert best_of(tmp_path)[0] == "6"


def test_a_metric_that_the_task_does_not_measure_ends_the_run_in_words(tmp_path: Path) -> None:
    """What was counted is committed: with another metric the same folder goes on."""
    sentence = "--metric auc:max: an evaluation of this task measures error, and no auc"
    with pytest.raises(InvalidInputError, match=sentence):
        ran(tmp_path, metric="auc:max")
    outcome, _ = ran(tmp_path, begin=1, rounds=3)
    assert (outcome.is_finished, outcome.rounds) == (True, 3)
