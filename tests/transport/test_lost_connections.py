"""Brokers die, freeze and throw us out; what was to be published arrives all the same."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from broker_talk import OpenConnection, eventually, expect, letter
from nodes import BrokerNode

from fanfold.schemas.errors import (
    BrokerUnreachableError,
    ConnectionClosedError,
    ConnectionLostError,
)
from fanfold.transport import (
    Connected,
    Connection,
    Delivery,
    Disconnected,
    Ended,
    Outgoing,
    SubscriptionLost,
)

CHUNK_BYTES = 256 * 1024


@pytest.mark.slow
def test_a_killed_broker_loses_no_chunk_of_a_publish(
    broker_node: BrokerNode, open_connection: OpenConnection, queue: str
) -> None:
    """Killed in the middle of 400 chunks: all arrive, some twice, under the same ids, in order."""
    connection = open_connection(window_bytes=8 * CHUNK_BYTES)
    connection.declare_queue(queue)
    broker_node.sync_declarations()
    killed = threading.Event()

    def chunks() -> Iterator[Outgoing]:
        for n in range(400):
            if n == 150:  # with a full window in doubt
                broker_node.kill()
                killed.set()
            yield letter(queue, n, n.to_bytes(4, "big") * (CHUNK_BYTES // 4))

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(connection.publish, chunks())
        killed.wait(30)
        expect(connection.event_buffer, Disconnected)
        assert not outcome.done()
        broker_node.resume()
        outcome.result(90)
    expect(connection.event_buffer, Connected)

    count = connection.declare_queue(queue).num_ready
    connection.subscribe(queue, prefetch=1000)
    numbers = []
    for _ in range(count):
        delivery = expect(connection.event_buffer, Delivery)
        number = int(delivery.message_id.rpartition("/")[2])
        assert delivery.body == number.to_bytes(4, "big") * (CHUNK_BYTES // 4)
        numbers.append(number)
    connection.delete_queue(queue)

    first_time = list(dict.fromkeys(numbers))
    assert first_time == list(range(400))
    assert 400 <= count <= 400 + 8


def test_a_forced_close_is_followed_by_a_new_connection(
    broker_node: BrokerNode, connection: Connection, queue: str
) -> None:
    """Deliveries, then Disconnected, then Connected; nothing is subscribed by itself."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=1)
    expect(connection.event_buffer, Connected)
    connection.publish([letter(queue)])
    broker_node.ctl("close_all_connections", "--global", "an operator says so")

    delivery = expect(connection.event_buffer, Delivery)
    assert "an operator says so" in expect(connection.event_buffer, Disconnected).reason
    expect(connection.event_buffer, Connected)
    connection.acknowledge(delivery)  # too late
    assert not connection.is_subscribed(subscription)
    connection.subscribe(queue, prefetch=1)
    again = expect(connection.event_buffer, Delivery)
    assert again.redelivered
    assert again.message_id == delivery.message_id


@pytest.mark.slow
def test_a_question_in_flight_fails_with_its_connection(
    broker_node: BrokerNode, open_connection: OpenConnection, queue: str
) -> None:
    """It neither hangs nor is asked again: the caller starts over. A publish survives."""
    connection = open_connection(heartbeat_seconds=1)
    connection.declare_queue(queue)

    def ask() -> None:
        while True:
            connection.declare_queue(queue)

    broker_node.suspend()
    try:
        with ThreadPoolExecutor(2) as pool:
            question = pool.submit(ask)
            publish = pool.submit(connection.publish, [letter(queue)])
            reason = expect(connection.event_buffer, Disconnected).reason  # the broker fell silent
            with pytest.raises(ConnectionLostError, match="heartbeat"):
                question.result(10)
            assert "heartbeat" in reason
            broker_node.wake()
            publish.result(60)
    finally:
        broker_node.wake()
    eventually(lambda: connection.connected)
    assert connection.declare_queue(queue).num_ready >= 1


def test_a_publish_can_be_given_a_time(
    broker_node: BrokerNode, open_connection: OpenConnection, queue: str
) -> None:
    """The error says how much is in doubt, and the next batch starts clean."""
    connection = open_connection()
    connection.declare_queue(queue)
    broker_node.suspend()
    try:
        with pytest.raises(BrokerUnreachableError, match="2 messages are in doubt"):
            connection.publish([letter(queue, 1), letter(queue, 2)], timeout_seconds=0.3)
    finally:
        broker_node.wake()
    connection.publish([letter(queue, 3)], timeout_seconds=30)


def test_closing_does_not_wait_for_a_frozen_broker(
    broker_node: BrokerNode, open_connection: OpenConnection
) -> None:
    """The time to drain is the bound, and socket and thread go (pytest would complain)."""
    connection = open_connection()
    before = threading.active_count()
    broker_node.suspend()
    try:
        start = time.monotonic()
        connection.close(drain_seconds=0.2)
        assert time.monotonic() - start < 5
    finally:
        broker_node.wake()
    assert threading.active_count() == before - 1


def test_closing_while_disconnected_ends_a_waiting_publish(queue: str) -> None:
    """Whoever publishes hears that the connection is closed."""
    with ThreadPoolExecutor(1) as pool:
        connection = Connection(["amqp://127.0.0.1:1"], name="test")
        connection.start()
        outcome = pool.submit(connection.publish, [letter(queue)])
        with pytest.raises(BrokerUnreachableError, match="no broker answered"):
            connection.wait_connected(0.2)
        connection.close(drain_seconds=0.1)
        with pytest.raises(ConnectionClosedError, match="'test' is closed"):
            outcome.result(10)


def test_closing_lets_a_running_publish_finish(open_connection: OpenConnection, queue: str) -> None:
    """And sends the acknowledgements that were given before."""
    connection = open_connection()
    connection.declare_queue(queue)
    connection.publish([letter(queue, n) for n in range(3)])
    connection.subscribe(queue, prefetch=3)
    deliveries = [expect(connection.event_buffer, Delivery) for _ in range(3)]
    started = threading.Event()

    def slow() -> Iterator[Outgoing]:
        yield letter(queue, 10)
        started.set()
        for n in range(200):
            yield letter(queue, 11 + n, bytes(10_000))

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(connection.publish, slow())
        started.wait(30)
        connection.acknowledge(deliveries[-1], multiple=True)
        connection.close(drain_seconds=30)
        outcome.result(10)
    assert open_connection().declare_queue(queue).num_ready == 201


def test_a_bug_in_the_io_thread_ends_the_connection_in_words(
    open_connection: OpenConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in silence: traceback in the log, an event, an error for whoever asks next."""
    connection = open_connection()

    def bug() -> None:
        raise ZeroDivisionError("a bug")

    connection._session.io.post(bug)
    assert expect(connection.event_buffer, Disconnected)
    ended = expect(connection.event_buffer, Ended)
    assert (ended.connection, "ZeroDivisionError" in str(ended.error)) == (connection.id, True)
    with pytest.raises(ConnectionClosedError, match="'test' failed: ZeroDivisionError"):
        connection.declare_queue("q")
    assert "I/O thread of the connection 'test' failed" in caplog.text


def test_a_connection_that_is_closed_has_not_ended_by_itself(
    open_connection: OpenConnection,
) -> None:
    connection = open_connection()
    connection.close()
    assert connection.event_buffer.find(Ended, 0) is None


@contextmanager
def impatient(node: BrokerNode) -> Iterator[None]:
    """For a while, half a second without an acknowledgement is too long for the broker."""
    names = ("consumer_timeout", "channel_tick_interval")  # the second is how often it looks
    read = [f"element(2, {{ok, _}} = application:get_env(rabbit, {name}))" for name in names]
    usual = json.loads(node.ctl("eval", f"[{', '.join(read)}]."))
    set_both = ", ".join(f"application:set_env(rabbit, {name}, {{}})" for name in names) + "."
    node.ctl("eval", set_both.format(500, 250))
    try:
        yield
    finally:
        node.ctl("eval", set_both.format(*usual))


def test_an_overdue_acknowledgement_ends_the_subscription(
    broker_node: BrokerNode, open_connection: OpenConnection, queue: str
) -> None:
    """The broker closes the channel with 406; the connection says so, and reads again when told."""
    with impatient(broker_node):
        connection = open_connection()
        connection.declare_queue(queue)
        connection.publish([letter(queue)])
        connection.subscribe(queue, prefetch=1)
        delivery = expect(connection.event_buffer, Delivery)
        lost = expect(connection.event_buffer, SubscriptionLost)
    assert lost.code == 406
    assert "timed out" in lost.text
    connection.acknowledge(delivery)  # too late
    connection.subscribe(queue, prefetch=1)
    assert expect(connection.event_buffer, Delivery).redelivered
