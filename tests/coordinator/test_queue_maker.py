"""Facts about queues that are there already: those of ours are told from others without a word."""

from collections.abc import Mapping, Sequence

import pytest

from fanfold.coordinator.broker.queue_arguments import participant_queue_arguments, room_for, rooms
from fanfold.coordinator.broker.queue_maker import QueueMaker
from fanfold.schemas.errors import RefusedByBrokerError
from fanfold.transport import Bindings, Connection, Outgoing, QueueState


class Broker:
    """Knows what queues were declared with, and refuses others in a language of its own."""

    def __init__(self) -> None:
        self.queues: dict[str, dict[str, object]] = {}
        self.bound: list[tuple[str, str, str]] = []
        self.missing: str | None = None
        self.calls = 0

    def declare_queue(
        self, name: str, *, arguments: dict[str, object], bindings: Sequence[tuple[str, str]]
    ) -> QueueState:
        self.calls += 1
        if any(exchange == self.missing for exchange, _ in bindings):
            raise RefusedByBrokerError(404, "pas d'échange")
        if self.queues.setdefault(name, arguments) != arguments:
            raise RefusedByBrokerError(406, "les arguments diffèrent")
        return QueueState(name, num_ready=0, num_consumers=0)

    def declare_queues(
        self, queues: Mapping[str, Bindings], *, arguments: dict[str, object]
    ) -> list[QueueState]:
        calls = self.calls + 1
        try:
            return [
                self.declare_queue(name, arguments=arguments, bindings=bindings)
                for name, bindings in queues.items()
            ]
        finally:
            self.calls = calls

    def bind_queue(self, queue: str, exchange: str, routing_key: str) -> None:
        if exchange == self.missing:
            raise RefusedByBrokerError(404, "pas d'échange")
        self.bound.append((queue, exchange, routing_key))

    def delete_queue(self, name: str) -> None:
        del self.queues[name]

    def room(self, name: str) -> object:
        return self.queues[name]["x-max-length-bytes"]


@pytest.mark.parametrize("version_bytes", [33, 300, 1000, 5000, 10**6, 3 << 20, 10**10])
def test_a_queue_has_room_for_one_version_and_never_for_two(version_bytes: int) -> None:
    """And for small messages beside it: a third of a version at least."""
    assert 4 * version_bytes / 3 <= room_for(version_bytes) < 2 * version_bytes


@pytest.mark.parametrize("before", [0, 1000, 10**9])
def test_a_queue_of_ours_for_other_versions_is_made_anew(before: int) -> None:
    """One that `enroll` made, before there was a version, among them."""
    broker = Broker()
    maker = QueueMaker(broker)
    maker.fit("one", version_bytes=before)
    maker.fit("two", version_bytes=before)
    assert maker.fit("one", version_bytes=50_000) is not None
    assert broker.room("one") == room_for(50_000)
    calls = broker.calls
    assert maker.fit("two", version_bytes=50_000) is not None
    assert broker.calls - calls <= 3  # the first told what to ask for


@pytest.mark.parametrize(
    "theirs",
    [
        {"x-queue-type": "quorum"},
        {"x-queue-type": "classic", "x-max-length-bytes": 10**12},
        {"x-queue-type": "classic", **participant_queue_arguments(), "x-max-priority": 3},
    ],
)
def test_a_queue_of_somebody_else_is_used_as_it_is(theirs: dict[str, object]) -> None:
    """It is looked into once."""
    broker = Broker()
    broker.queues["one"] = theirs
    maker = QueueMaker(broker)
    assert maker.fit("one", version_bytes=50_000, bindings=[("x", "one")]) is None
    assert broker.bound == [("one", "x", "one")]
    calls = broker.calls
    assert calls <= 2 + len(list(rooms()))
    assert maker.fit("one", version_bytes=50_000) is None
    assert broker.calls == calls + 1
    assert broker.queues["one"] == theirs


def test_a_queue_that_is_as_it_should_be_costs_one_call() -> None:
    """Hundreds of them are seen to, one after the other, when a connection comes back."""
    broker = Broker()
    maker = QueueMaker(broker)
    for _ in range(2):
        assert maker.fit("one", version_bytes=50_000, bindings=[("x", "one"), ("y", "")])
    assert broker.calls == 2
    assert broker.bound == []  # in the same call


def test_a_thousand_queues_cost_one_call() -> None:
    """They are seen to when a connection comes back, and all are as they should be."""
    broker = Broker()
    queues = {f"queue-{index}": [("x", "")] for index in range(1000)}
    states = QueueMaker(broker).fit_together(queues, version_bytes=50_000)
    assert [each.name for each in states or ()] == list(queues)
    assert broker.calls == 1


def test_one_queue_that_is_not_as_it_should_be_has_each_looked_at_by_itself() -> None:
    """The broker ends the call at the first that it refuses."""
    broker = Broker()
    QueueMaker(broker).fit("queue-1", version_bytes=10)
    queues = {f"queue-{index}": [("x", "")] for index in range(3)}
    assert QueueMaker(broker).fit_together(queues, version_bytes=50_000) is None


def test_an_exchange_that_is_gone_is_no_queue_that_is_down() -> None:
    """The first is declared anew at once, the second is waited for."""
    broker = Broker()
    broker.missing = "x"
    maker = QueueMaker(broker)
    with pytest.raises(RefusedByBrokerError, match="404"):
        maker.fit("one", version_bytes=50_000, bindings=[("x", "one")])


def test_a_real_broker_holds_the_newest_version_alone(broker_url: str, federation: str) -> None:
    """In a queue that was made for a tenth of it."""
    queue = f"{federation}.participant.ann"
    with Connection([broker_url], name="test") as connection:
        connection.wait_connected(30)
        maker = QueueMaker(connection)
        maker.fit(queue, version_bytes=10_000)
        state = maker.fit(queue, version_bytes=100_000)
        assert state == QueueState(queue, num_ready=0, num_consumers=0)
        for number in range(3):
            connection.publish(
                [Outgoing("", queue, bytes(50_000), "Half", f"{number}/{half}") for half in (0, 1)]
            )
        state = maker.fit(queue, version_bytes=100_000)
        assert state is not None
        assert state.num_ready in (2, 3)
