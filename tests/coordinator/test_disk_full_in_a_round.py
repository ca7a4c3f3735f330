"""Facts about a coordinator whose disk is full: it waits, and nobody pays for it."""

import errno
from pathlib import Path

import pytest

from fanfold.coordinator.admission.accept_or_refuse import UpdateHandler
from fanfold.coordinator.persistence.pending_acks import Due
from fanfold.transport import Delivery
from tests.coordinator.fake_broker import FakeBroker


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    return FakeBroker(tmp_path)


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Let the disk refuse what arrives so often."""
    take, pauses = UpdateHandler.take, iter(range(times))

    def full(updates: UpdateHandler, delivery: Delivery, now: float) -> Due:
        if next(pauses, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return take(updates, delivery, now)

    monkeypatch.setattr(UpdateHandler, "take", full)


def test_a_deadline_does_not_run_while_the_disk_is_full(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had answered in time is not late because of our disk."""
    broker.hello("ann", "bob", "cid")
    broker.on_version = lambda version: [
        broker.update(each, version) for each in ("ann", "bob", "cid")
    ]
    fill_disk(monkeypatch, times=4)
    assert broker.run(rounds=1, min_participants=3, deadline_seconds=10).is_finished
    assert [each["updates"] for each in broker.all("round_closed")] == [3]


def test_nobody_is_silent_while_the_disk_is_full(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody says meanwhile is not read: the minutes of a full disk are nobody's silence."""
    broker.hello("ann", "bob")

    def answer(version: int) -> None:
        broker.clock.now += 1
        broker.update("ann", version)

    broker.on_version = answer
    fill_disk(monkeypatch, times=100)
    assert broker.run(rounds=1, min_participants=2, deadline_seconds=10).is_finished
    assert broker.clock.now > 1500
    assert broker.all("participant_silent") == []
