"""Facts about who leaves: a goodbye takes nothing back that was sent before it."""

from pathlib import Path

import pytest

from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.schemas.messages import Goodbye
from tests.coordinator.fake_broker import FakeBroker


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    return FakeBroker(tmp_path)


def goodbye(broker: FakeBroker, participant: str, version: int | None) -> None:
    run = None if version is None else broker.run_id
    broker.tell(Goodbye(participant=participant, instance="i", run=run, version=version))


def test_a_goodbye_that_overtakes_its_update_does_not_close_the_round(broker: FakeBroker) -> None:
    """It comes through another queue. The update was confirmed, so it counts."""
    broker.hello("ann", "bob")

    def answer(version: int) -> None:
        goodbye(broker, "bob", version)
        broker.update("ann", version)
        broker.update("bob", version)

    broker.on_version = answer
    assert broker.run(rounds=1, min_participants=2).is_finished
    assert [each["updates"] for each in broker.all("round_closed")] == [2]
    assert broker.all("participant_left") == [{"participant": "bob", "reason": ""}]


def test_who_leaves_without_an_update_is_not_waited_for(broker: FakeBroker) -> None:
    """Neither is who answered an older version."""
    broker.hello("ann", "bob", "cid")

    def answer(version: int) -> None:
        if version == 0:
            for participant in ("ann", "bob", "cid"):
                broker.update(participant, version)
        else:
            goodbye(broker, "bob", None)
            goodbye(broker, "cid", 0)
            broker.update("ann", version)

    broker.on_version = answer
    assert broker.run(rounds=2, min_participants=3).is_finished
    assert [each["updates"] for each in broker.all("round_closed")] == [3, 1]
    assert broker.clock.now < 1600  # no deadline was waited for


def test_an_update_that_was_announced_and_never_comes_costs_one_deadline() -> None:
    """A full disk of the broker may have taken it along."""
    opened = OpenRound(
        RoundPolicy(deadline_seconds=10.0), 1, expected=frozenset({"ann", "bob"}), opened_at=0.0
    )
    opened.left("bob", has_answered=True)
    opened.count("ann", staleness=0)
    assert not opened.may_close(9.0, {"ann"})
    assert opened.may_close(10.0, {"ann"})


@pytest.mark.parametrize("goal", [2, 3])
def test_a_number_as_goal_waits_for_what_is_under_way_too(goal: int) -> None:
    opened = OpenRound(RoundPolicy(goal=goal), 1, expected=frozenset(), opened_at=0.0)
    opened.left("bob", has_answered=True)
    opened.count("ann", staleness=0)
    assert not opened.may_close(1.0, {"ann"})
    opened.count("bob", staleness=0)
    assert opened.may_close(1.0, {"ann"})
