"""Declaring and binding, and how each refusal of the broker reads."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from broker_talk import OpenConnection, eventually, expect, letter
from nodes import BrokerNode
from pika.channel import Channel

from fanfold.schemas.errors import ConnectionLostError, RefusedByBrokerError, TransportError
from fanfold.transport import Connection, Delivery, Outgoing, Subscription


def test_a_queue_with_other_arguments_is_refused_with_406(
    connection: Connection, queue: str
) -> None:
    """The broker's words name the argument; the same arguments are fine."""
    arguments = {"x-queue-type": "classic", "x-max-length": 3}
    connection.declare_queue(queue, arguments=arguments)
    assert connection.declare_queue(queue, arguments=arguments).num_ready == 0
    with pytest.raises(RefusedByBrokerError, match=r"406.*x-max-length") as refusal:
        connection.declare_queue(queue, arguments={"x-queue-type": "classic", "x-max-length": 4})
    assert refusal.value.code == 406
    assert "current is '3'" in refusal.value.text.replace("the value ", "")


def test_an_exclusive_queue_locks_out_everybody_else_with_405(
    open_connection: OpenConnection, queue: str
) -> None:
    """This is the coordinator's lock; it is free again when its holder goes."""
    holder, other = open_connection(), open_connection()
    holder.declare_queue(queue, exclusive=True)
    with pytest.raises(RefusedByBrokerError, match="405") as refusal:
        other.declare_queue(queue, exclusive=True)
    assert refusal.value.code == 405
    with pytest.raises(RefusedByBrokerError, match="405"):
        other.subscribe(queue, prefetch=1)

    holder.close()
    eventually(lambda: _can_declare(other, queue))


def _can_declare(connection: Connection, queue: str) -> bool:
    try:
        connection.declare_queue(queue, exclusive=True)
    except RefusedByBrokerError:
        return False
    return True


def test_a_binding_routes_by_its_key(connection: Connection, queue: str) -> None:
    """A direct exchange hands over what has the key and nothing else."""
    exchange = f"{queue}-direct"
    connection.declare_exchange(exchange, "direct")
    connection.declare_queue(queue)
    connection.bind_queue(queue, exchange, "update")
    connection.publish([Outgoing(exchange, "update", b"1", "Letter", "1")])
    connection.publish([Outgoing(exchange, "event", b"2", "Letter", "2", mandatory=False)])
    connection.subscribe(queue, prefetch=2)
    assert expect(connection.event_buffer, Delivery).message_id == "1"
    assert len(connection.event_buffer) == 0


def test_many_queues_are_made_and_bound_in_one_call(connection: Connection, queue: str) -> None:
    """Their states come in the order in which they were asked for."""
    exchange, names = f"{queue}-fanout", [f"{queue}-{n}" for n in range(150)]
    connection.declare_exchange(exchange, "fanout")
    bindings = {key: [(exchange, "")] for key in names}
    states = connection.declare_queues(bindings)
    assert [(each.name, each.is_abandoned) for each in states] == [(name, True) for name in names]
    connection.publish([Outgoing(exchange, "", b"1", "Letter", "1")])
    assert [each.num_ready for each in connection.declare_queues(bindings)] == [1] * 150
    for name in names:
        connection.delete_queue(name)


def test_one_of_many_with_other_arguments_is_refused(connection: Connection, queue: str) -> None:
    """The next call finds the connection as it was."""
    exchange, names = f"{queue}-fanout", [f"{queue}-{n}" for n in range(3)]
    connection.declare_exchange(exchange, "fanout")
    connection.declare_queue(names[1], arguments={"x-max-length": 3})
    with pytest.raises(RefusedByBrokerError, match="406"):
        connection.declare_queues({key: [(exchange, "")] for key in names})
    assert connection.declare_queue(queue).num_ready == 0
    for name in names:
        connection.delete_queue(name)


def test_binding_to_what_is_not_there_is_refused_with_404(
    connection: Connection, queue: str
) -> None:
    """And an exchange of another kind with 406."""
    connection.declare_queue(queue)
    with pytest.raises(RefusedByBrokerError, match=r"404.*no-such-exchange"):
        connection.bind_queue(queue, "no-such-exchange")
    connection.declare_exchange(queue, "direct")
    with pytest.raises(RefusedByBrokerError, match="406"):
        connection.declare_exchange(queue, "fanout")


def test_deleting_what_is_not_there_is_fine(connection: Connection, queue: str) -> None:
    """Whoever deletes wants it gone."""
    connection.delete_queue(queue)


def test_a_name_that_cannot_be_written_is_an_error_and_no_end(
    connection: Connection, queue: str
) -> None:
    """AMQP names end at 255 bytes; the next question is answered."""
    with pytest.raises(TransportError, match=r"x{255}"):
        connection.declare_queue("x" * 300)
    connection.declare_queue(queue)


def test_without_a_connection_a_question_fails_at_once(queue: str) -> None:
    """It does not wait for one: the caller starts over on `Connected`."""
    with Connection(["amqp://127.0.0.1:1"], name="test") as connection:
        with pytest.raises(ConnectionLostError, match="no connection"):
            connection.declare_queue(queue)
        with pytest.raises(ConnectionLostError, match="no connection"):
            connection.subscribe(queue, prefetch=1)


@pytest.fixture
def stranger(broker_node: BrokerNode, open_connection: OpenConnection) -> Iterator[Connection]:
    """A connection of a user who may read, write and configure nothing."""
    vhost, name = f"strange-{uuid.uuid4().hex[:8]}", f"stranger-{uuid.uuid4().hex[:8]}"
    url = broker_node.create_vhost(vhost)
    broker_node.api("PUT", f"/api/users/{name}", '{"password": "secret", "tags": ""}')
    nothing = '{"configure": "^$", "write": "^$", "read": "^$"}'
    broker_node.api("PUT", f"/api/permissions/{vhost}/{name}", nothing)
    mine = f"{broker_node.user}:{broker_node.password}"
    yield open_connection(url.replace(mine, f"{name}:secret"))
    broker_node.delete_vhost(vhost)
    broker_node.api("DELETE", f"/api/users/{name}")


def test_without_the_right_everything_is_refused_with_403(stranger: Connection, queue: str) -> None:
    """Declaring, reading and writing; the connection stays."""
    with pytest.raises(RefusedByBrokerError, match="403"):
        stranger.declare_queue(queue)
    with pytest.raises(RefusedByBrokerError, match="403"):
        stranger.publish([Outgoing("amq.direct", "", b"", "Letter", "1")])
    with pytest.raises(RefusedByBrokerError, match=r"40[34]"):
        stranger.subscribe(queue, prefetch=1)
    assert stranger.connected
    with pytest.raises(TransportError, match="403"):
        stranger.publish([letter(queue)])


def test_a_queue_is_declared_and_bound_in_one_call(connection: Connection, queue: str) -> None:
    """Made or found, bound once or again; what is refused is refused as ever."""
    exchange = f"{queue}.exchange"
    connection.declare_exchange(exchange, "direct")
    for count in range(2):
        state = connection.declare_queue(queue, bindings=[(exchange, "one"), (exchange, "two")])
        assert state.num_ready == count * 2
        for key in ("one", "two") if not count else ():
            connection.publish([Outgoing(exchange, key, b"x", "Letter", key)])
    with pytest.raises(RefusedByBrokerError, match="406"):
        connection.declare_queue(queue, arguments={"x-max-length": 1}, bindings=[(exchange, "one")])
    with pytest.raises(RefusedByBrokerError, match="404"):
        connection.declare_queue(queue, bindings=[(f"{queue}.nothing", "")])
    assert connection.declare_queue(queue).num_ready == 2


def test_who_consumes_a_queue_while_it_is_bound_is_not_counted(
    connection: Connection,
    open_connection: OpenConnection,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer tells what the queue was like before: nothing could have reached its consumer."""
    exchange = f"{queue}.exchange"
    connection.declare_exchange(exchange, "direct")
    connection.declare_queue(queue)
    consumer, bind = open_connection(), Channel.queue_bind

    def attached(*args: Any, **kwargs: Any) -> None:
        if not consumers:
            consumers.append(consumer.subscribe(queue, prefetch=1))
        bind(*args, **kwargs)

    consumers: list[Subscription] = []
    monkeypatch.setattr(Channel, "queue_bind", attached)
    state = connection.declare_queue(queue, bindings=[(exchange, "one"), (exchange, "two")])
    assert len(consumers) == 1
    assert state.num_consumers == 0
    assert connection.declare_queue(queue).num_consumers == 1
