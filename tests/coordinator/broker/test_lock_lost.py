"""The lock is lost with its connection; who holds it then decides what becomes of the old one."""

from pathlib import Path

import pytest

from fanfold.coordinator.persistence.epoch import SupersededError
from fanfold.schemas.errors import RESOURCE_LOCKED, RefusedByBrokerError
from fanfold.transport import Connected
from tests.coordinator.fake_broker import FakeBroker


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    """A broker that gives the connection back, and not the lock."""
    broker = FakeBroker(tmp_path)
    locked = RefusedByBrokerError(RESOURCE_LOCKED, "RESOURCE_LOCKED")
    broker.consuming.fails["declare_queue f.coordinator"] = [None, None, locked, locked]
    broker.hello("a")
    return broker


def come_back(broker: FakeBroker) -> None:
    broker.event_buffer.put_event(Connected(broker.consuming.id))


def test_who_was_superseded_says_so_and_does_not_stand_by(
    broker: FakeBroker, tmp_path: Path
) -> None:
    """It could never take over again: whoever looks for a standby must not take it for one."""

    def taken_over(_version: int) -> None:
        (tmp_path / "epoch").write_text("9\n")
        come_back(broker)

    broker.on_version = taken_over
    with pytest.raises(SupersededError, match="another coordinator took over the run in"):
        broker.run()
    assert not broker.all("standing_by")


def test_who_finds_its_own_dead_connection_holding_the_lock_waits_for_it(
    broker: FakeBroker,
) -> None:
    """The broker may take a while to notice; nobody else has taken an epoch meanwhile."""

    def lost(version: int) -> None:
        if not broker.all("standing_by"):
            come_back(broker)
        broker.update("a", version)

    broker.on_version = lost
    assert broker.run(rounds=2).rounds == 2
    assert broker.all("standing_by")
