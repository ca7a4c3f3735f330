"""A folder that was restored from a backup: it says so, and --restored goes on above the rest."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fanfold.schemas.chunking import cut
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Progress
from tests.coordinator.fake_broker import FakeBroker

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    """One that has a run of two rounds in its folder, and counts on."""
    first = FakeBroker(tmp_path, wall_clock=lambda: NOW)
    first.on_version = lambda version: first.update("ann", version)
    first.hello("ann")
    assert first.run(rounds=2).is_finished
    return FakeBroker(tmp_path, wall_clock=lambda: NOW)


def goes_on(broker: FakeBroker, *, version: int, epoch: int | None, run: str | None = None) -> None:
    """Let Ann report a version each time one is published, and answer it."""

    def answer(published: int) -> None:
        report = Progress(
            participant="ann",
            instance="i",
            run=broker.run_id if run is None else run,
            version=version,
            phase="waiting",
        )
        broker.deliver("events", cut(encode(report), epoch=epoch)[0])
        broker.update("ann", published)

    broker.hello("ann")
    broker.on_version = answer
    assert broker.run(rounds=4).is_finished


@pytest.mark.parametrize(
    ("version", "epoch", "is_ignored"),
    [(50, 1, False), (2, 9, True), (50, 2, True), (50, None, False)],
)
def test_a_coordinator_that_hears_of_a_newer_version_names_it(
    broker: FakeBroker, version: int, epoch: int | None, *, is_ignored: bool
) -> None:
    """Once for each who holds one; its own epoch is 2. Participants ignore what is not newer."""
    goes_on(broker, version=version, epoch=epoch)
    (told,) = broker.all("run_is_ahead")
    assert (told["participant"], told["version"]) == ("ann", version)
    assert told["own_epoch"] == 2
    assert told["is_ignored"] is is_ignored


@pytest.mark.parametrize(
    ("version", "epoch", "run"), [(1, 1, None), (2, 2, None), (99, 99, "other")]
)
def test_what_is_not_ahead_is_no_news(
    broker: FakeBroker, version: int, epoch: int, run: str | None
) -> None:
    """An older version, the current one, and another run."""
    goes_on(broker, version=version, epoch=epoch, run=run)
    assert broker.all("run_is_ahead") == []


def test_restored_goes_on_above_all_that_was_seen(broker: FakeBroker) -> None:
    """From the backup's version, in an epoch that coordinators who only count never reach."""
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version)
    assert broker.run(rounds=3, restored=True).is_finished
    (restored,) = broker.all("run_restored")
    assert (restored["version"], restored["epoch"]) == (2, int(NOW.timestamp()))
    assert [each["round"] for each in broker.all("round_closed")] == [3]


def test_restored_twice_goes_on_above_the_first_time(broker: FakeBroker, tmp_path: Path) -> None:
    """Even where the clock was set back in between, as long as the folder is the same."""
    broker.hello("ann")
    broker.on_version = lambda version: broker.update("ann", version)
    broker.run(rounds=3, restored=True)
    again = FakeBroker(tmp_path, wall_clock=lambda: datetime(1970, 1, 2, tzinfo=UTC))
    again.hello("ann")
    again.on_version = lambda version: again.update("ann", version)
    assert again.run(rounds=4, restored=True).is_finished
    assert again.all("run_restored")[0]["epoch"] == int(NOW.timestamp()) + 1


def test_a_damaged_epoch_is_no_work_for_hands(broker: FakeBroker, tmp_path: Path) -> None:
    """The sentence names the option, and the option overwrites the file."""
    (tmp_path / "epoch").write_text("seven")
    with pytest.raises(InvalidInputError, match="start again with --restored"):
        broker.run(rounds=3)
    test_restored_goes_on_above_all_that_was_seen(FakeBroker(tmp_path, wall_clock=lambda: NOW))


def test_restored_needs_a_backup(tmp_path: Path) -> None:
    """In a folder without a checkpoint there is nothing to go on from."""
    with pytest.raises(InvalidInputError, match=r"holds no checkpoint; put the backup there first"):
        FakeBroker(tmp_path).run(restored=True)


def test_restored_and_fresh_contradict_each_other(tmp_path: Path) -> None:
    """One goes on, the other begins anew."""
    with pytest.raises(InvalidInputError, match=r"--restored goes on .* and --fresh begins anew"):
        FakeBroker(tmp_path).run(restored=True, resume=False)
