"""Facts about a coordinator whose broker comes and goes: it waits, and it always comes back."""

import threading
from pathlib import Path
from typing import Any

import pytest

from fanfold.coordinator.admission.accept_or_refuse import UpdateHandler
from fanfold.coordinator.persistence.pending_acks import Due
from fanfold.schemas.errors import (
    ConnectionClosedError,
    ConnectionLostError,
    QueueDownError,
    RefusedByBrokerError,
)
from fanfold.schemas.names import DEAD_LETTER_KEY
from fanfold.transport import (
    Blocked,
    Delivery,
    Disconnected,
    Ended,
    Outgoing,
    Subscription,
    SubscriptionLost,
)
from tests.coordinator.fake_broker import FakeBroker
from tests.federation.tiny_tasks import Tiny

LOST = ConnectionLostError("there is no connection to the broker")


@pytest.fixture
def broker(tmp_path: Path) -> FakeBroker:
    return FakeBroker(tmp_path)


def answering(broker: FakeBroker, *participants: str) -> None:
    """Let these say hello, and answer every version."""
    broker.hello(*participants)

    def answer(version: int) -> None:
        for participant in participants:
            broker.update(participant, version)

    broker.on_version = answer


def test_a_connection_that_is_not_back_yet_delays_taking_office(broker: FakeBroker) -> None:
    """The broker restarts; the lock is there before the connection that declarations go through."""
    answering(broker, "ann")
    broker.administering.fails["declare_exchange f.parameters"] = [LOST, LOST]
    assert broker.run(rounds=1).is_finished


def test_the_office_is_taken_once_all_connections_are_there(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is held meanwhile, and nothing is declared."""
    answering(broker, "ann")
    broker.administering.connected = False
    find = broker.event_buffer.find

    def found(kind: Any, seconds: float) -> Any:
        assert not broker.administering.asked
        broker.administering.connected = True
        return find(kind, seconds)

    monkeypatch.setattr(broker.event_buffer, "find", found)
    assert broker.run(rounds=1).is_finished


@pytest.mark.parametrize("queue", ["f.coordinator", "f.results"])
def test_a_queue_on_a_node_that_is_down_is_waited_for(broker: FakeBroker, queue: str) -> None:
    """The lock's or the results': it comes back with its node."""
    answering(broker, "ann")
    connection = broker.consuming if queue == "f.coordinator" else broker.administering
    connection.fails[f"declare_queue {queue}"] = [QueueDownError(queue)]
    assert broker.run(rounds=1).is_finished


def test_a_queue_that_is_down_in_the_middle_of_a_run_is_waited_for(broker: FakeBroker) -> None:
    """Nobody says when its node is back: it is asked again and again."""
    broker.hello("ann")

    def lose(version: int) -> None:
        down = broker.administering.fails["declare_queue f.results"]
        down += [QueueDownError("f.results") for _ in range(3)]
        (results, _) = coordinator._recovery._channel._subscriptions
        broker.event_buffer.put_event(SubscriptionLost(results, 404, "gone"))

    def answer(participant: str, version: int) -> None:
        broker.update(participant, version)

    broker.on_version, broker.on_resent = lose, answer
    coordinator = broker.coordinator(rounds=1)
    assert coordinator.run().is_finished
    assert not broker.administering.fails["declare_queue f.results"]


def test_coming_back_that_is_broken_off_is_tried_again(broker: FakeBroker) -> None:
    """An exchange is deleted, and the connection drops while everything is declared anew."""
    answering(broker, "ann")
    broker.publishing.fails["publish f.parameters"] = [
        RefusedByBrokerError(404, "no exchange 'f.parameters'")
    ]
    broker.administering.fails["declare_queue f.participant.ann"] = [None, LOST]
    assert broker.run(rounds=1).is_finished


def test_queues_on_a_node_that_is_down_are_not_asked_for_one_after_the_other(
    broker: FakeBroker,
) -> None:
    """Each would take as long as the first, and nothing be received meanwhile."""
    answering(broker, "ann", "bob")
    broker.publishing.fails["publish f.parameters"] = [
        RefusedByBrokerError(404, "no exchange 'f.parameters'")
    ]
    ann = "declare_queue f.participant.ann"
    broker.administering.fails[ann] = [None, QueueDownError("f.participant.ann")]
    assert broker.run(rounds=1, min_participants=2).is_finished
    asked = [call for call in broker.administering.asked if "f.participant" in call]
    assert [call for call in asked if call.startswith("declare")] == [
        ann,
        ann.replace("ann", "bob"),
        ann,
    ]


def test_hellos_are_acknowledged_while_the_administering_connection_is_down(
    broker: FakeBroker,
) -> None:
    """Or the window of events would fill up, and the coordinator receive nothing any more."""
    tags = broker.hello("ann", "bob")
    broker.administering.fails["declare_queue f.participant.ann"] = [LOST]
    broker.administering.fails["declare_queue f.participant.bob"] = [LOST]
    broker.on_version = lambda _version: broker.stop()
    broker.run(rounds=1, min_participants=2)
    assert [tag for tag, _ in broker.consuming.acknowledged] == tags


def test_what_came_before_the_deadline_is_read_before_it_closes_the_round(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading took so long that the deadline passed: the updates in the queue were in time."""
    answering(broker, "ann", "bob", "cid")
    take = UpdateHandler.take

    def slow(updates: UpdateHandler, delivery: Delivery, now: float) -> Due:
        due = take(updates, delivery, now)
        broker.clock.now += 60
        return due

    monkeypatch.setattr(UpdateHandler, "take", slow)
    assert broker.run(rounds=1, min_participants=3, deadline_seconds=10).is_finished
    assert [each["updates"] for each in broker.all("round_closed")] == [3]


def test_only_the_publishing_connection_says_whether_the_broker_takes_anything(
    broker: FakeBroker,
) -> None:
    """A lost connection beside it changes nothing."""
    recovery = broker.coordinator()._recovery
    recovery.notice(Blocked(broker.publishing.id, "low on memory"))
    recovery.notice(Disconnected(broker.administering.id, "reset"))
    assert recovery.is_blocked
    recovery.notice(Disconnected(broker.publishing.id, "reset"))
    assert not recovery.is_blocked


def test_a_full_round_leaves_no_delivery_unacknowledged_for_longer_than_a_commit_takes(
    broker: FakeBroker,
) -> None:
    """While the version goes out, for hours maybe, what is not needed any more is read too."""
    broker.hello("ann")
    acknowledged = threading.Event()
    late: list[int] = []

    def hold(version: int) -> None:
        broker.update("ann", version)
        late.append(broker.update("ann", version))
        assert acknowledged.wait(20)

    def look() -> None:
        if late and late[0] in broker.consuming.tags_acknowledged:
            acknowledged.set()

    broker.on_version, broker.consuming.on_acknowledge = hold, look
    assert broker.run(rounds=1, commit_seconds=30).is_finished


def test_what_comes_during_the_last_evaluation_is_acknowledged_in_time(
    broker: FakeBroker,
) -> None:
    """An evaluation can take hours."""
    acknowledged = threading.Event()
    late: list[int] = []

    class SlowToEvaluate(Tiny):
        def evaluate(self, network: Any, data: Any) -> Any:
            late.append(broker.update("ann", 0))
            assert acknowledged.wait(20)
            return super().evaluate(network, data)

    def look() -> None:
        if late and late[0] in broker.consuming.tags_acknowledged:
            acknowledged.set()

    answering(broker, "ann")
    broker.consuming.on_acknowledge = look
    assert broker.run(SlowToEvaluate(), rounds=1, commit_seconds=30).is_finished


def test_a_connection_that_ends_by_itself_ends_the_coordinator(broker: FakeBroker) -> None:
    """With an error: running and receiving nothing, it would be of no use."""
    dead = ConnectionClosedError("the connection 'consumes' failed: ZeroDivisionError()")
    broker.event_buffer.put_event(Ended(broker.publishing.id, dead))
    with pytest.raises(ConnectionClosedError, match="failed: ZeroDivisionError"):
        broker.run(rounds=1)


def test_a_version_that_a_dead_connection_cannot_send_ends_the_coordinator(
    broker: FakeBroker,
) -> None:
    """Nobody would send it."""
    broker.hello("ann")
    broker.publishing.fails["publish f.parameters"] = [
        ConnectionClosedError("the connection 'x' failed")
    ]
    with pytest.raises(ConnectionClosedError, match="the connection 'x' failed"):
        broker.run(rounds=1)


def test_malformed_messages_are_acknowledged_once_and_after_they_are_kept(
    broker: FakeBroker,
) -> None:
    """A commit meanwhile acknowledges what lies around them, and not them."""
    broker.hello("ann")
    kept = threading.Event()
    committed = threading.Event()
    bad: list[int] = []

    def publish(messages: list[Outgoing]) -> None:
        if messages[0].routing_key == DEAD_LETTER_KEY:
            assert committed.wait(20)
            assert bad[0] not in broker.consuming.tags_acknowledged
            kept.set()
        else:
            broker._published(messages)

    def answer(version: int) -> None:
        if not version:
            chunk = broker.chunks_of("bob", version)[0]
            bad.append(broker.deliver("results", chunk, kind="Nonsense"))
        broker.update("ann", version)

    def look() -> None:
        if broker.consuming.acknowledged[-1][0] > bad[0]:
            committed.set()

    broker.publishing.published, broker.on_version = publish, answer
    broker.consuming.on_acknowledge = lambda: look() if bad else None
    assert broker.run(rounds=2).is_finished
    assert kept.is_set()
    assert [each for each in broker.consuming.acknowledged if each[0] == bad[0]] == [
        (bad[0], False)
    ]


def test_a_subscription_of_the_past_is_no_news(broker: FakeBroker) -> None:
    """Its successor was made already."""
    answering(broker, "ann")
    broker.event_buffer.put_event(
        SubscriptionLost(Subscription("f.results", "old", 1), 404, "gone")
    )
    assert broker.run(rounds=1).is_finished
    assert broker.consuming.asked.count("subscribe f.results") == 1
