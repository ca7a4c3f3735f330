"""Facts about rounds that close while more updates wait: one commit, and one version for all."""

from pathlib import Path
from typing import Any

import pytest

from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.persistence.run_store import RunStore
from tests.coordinator.fake_broker import FakeBroker

NAMES = ("ann", "bob", "cid", "dan", "eve")


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    broker = FakeBroker(tmp_path)
    broker.hello(*NAMES)
    broker.on_version = lambda version: [broker.update(each, version) for each in NAMES]
    return broker


def committed_versions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each commit adds the version that it holds."""
    versions: list[int] = []
    commit = RunStore.commit

    def counted(store: RunStore, state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        versions.append(state["run"]["version"])
        return commit(store, state, *args, **kwargs)

    monkeypatch.setattr(RunStore, "commit", counted)
    return versions


def test_rounds_that_waiting_updates_fill_are_committed_and_announced_together(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five updates on version 0 make five rounds; nobody hears of the versions between."""
    versions = committed_versions(monkeypatch)
    result = broker.run(rounds=10, mode="async", min_participants=5)
    assert result.is_finished
    assert list(broker.base_digests) == [0, 5]
    assert sorted(set(versions)) == [0, 5, 10]
    rounds = broker.all("round_closed")
    assert [each["round"] for each in rounds] == list(range(1, 11))
    assert [each["bytes_down"] > 0 for each in rounds] == ([True] + [False] * 4) * 2


def test_each_of_them_stands_in_the_history_by_itself(broker: FakeBroker, tmp_path: Path) -> None:
    """With the update that made it, and how stale that was."""
    broker.run(rounds=5, mode="async", min_participants=5)
    updates = [
        each["updates"]
        for each in read_history(tmp_path / "history.jsonl")
        if each["event"] == "round"
    ]
    assert [[(e["participant"], e["staleness"]) for e in each] for each in updates] == [
        [(name, staleness)] for staleness, name in enumerate(NAMES)
    ]


def test_what_does_not_fill_a_round_counts_toward_the_one_that_is_announced(
    broker: FakeBroker,
) -> None:
    """Five updates, two to a round: the fifth is in the round whose version goes out next."""
    broker.on_version = lambda version: (
        [broker.update(each, version) for each in (NAMES if version == 0 else NAMES[:1])]
    )
    broker.run(rounds=3, mode="buffered", goal=2, min_participants=5)
    assert list(broker.base_digests) == [0, 2]
    assert [each["updates"] for each in broker.all("round_closed")] == [2, 2, 2]


def test_a_run_ends_with_its_last_round_whatever_waits(broker: FakeBroker) -> None:
    """Three rounds of five updates that are there."""
    result = broker.run(rounds=3, mode="async", min_participants=5)
    assert result.is_finished
    assert len(broker.all("round_closed")) == 3


def test_synchronous_rounds_are_announced_one_by_one(broker: FakeBroker) -> None:
    """An update on an older version is refused there, and makes no round."""
    broker.on_version = lambda version: [broker.update(each, version) for each in NAMES * 2]
    broker.run(rounds=3, min_participants=5)
    assert list(broker.base_digests) == [0, 1, 2]
