"""Brokers die, freeze and throw us out; what was to be published arrives all the same."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from broker_talk import OpenLink, eventually, expect, letter
from nodes import BrokerNode

from schemas.errors import BrokerUnreachableError, ConnectionLostError, LinkClosedError
from transport import Connected, Delivery, Disconnected, Ended, Link, Outgoing, SubscriptionLost

CHUNK_BYTES = 256 * 1024


def test_a_killed_broker_loses_no_chunk_of_a_publish(
    broker_node: BrokerNode, open_link: OpenLink, queue: str
) -> None:
    """Killed in the middle of 400 chunks: all arrive, some twice, under the same ids, in order."""
    link = open_link(window_bytes=8 * CHUNK_BYTES)
    link.declare_queue(queue)
    killed = threading.Event()

    def chunks() -> Iterator[Outgoing]:
        for n in range(400):
            if n == 150:  # with a full window in doubt
                broker_node.kill()
                killed.set()
            yield letter(queue, n, n.to_bytes(4, "big") * (CHUNK_BYTES // 4))

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(link.publish, chunks())
        killed.wait(30)
        expect(link.inbox, Disconnected)
        assert not outcome.done()
        broker_node.resume()
        outcome.result(90)
    expect(link.inbox, Connected)

    count = link.declare_queue(queue).num_ready
    link.subscribe(queue, prefetch=1000)
    numbers = []
    for _ in range(count):
        delivery = expect(link.inbox, Delivery)
        number = int(delivery.message_id.rpartition("/")[2])
        assert delivery.body == number.to_bytes(4, "big") * (CHUNK_BYTES // 4)
        numbers.append(number)
    link.delete_queue(queue)

    first_time = list(dict.fromkeys(numbers))
    assert first_time == list(range(400))
    assert 400 <= count <= 400 + 8


def test_a_forced_close_is_followed_by_a_new_connection(
    broker_node: BrokerNode, link: Link, queue: str
) -> None:
    """Deliveries, then Disconnected, then Connected; nothing is subscribed by itself."""
    link.declare_queue(queue)
    subscription = link.subscribe(queue, prefetch=1)
    expect(link.inbox, Connected)
    link.publish([letter(queue)])
    broker_node.ctl("close_all_connections", "--global", "an operator says so")

    delivery = expect(link.inbox, Delivery)
    assert "an operator says so" in expect(link.inbox, Disconnected).reason
    expect(link.inbox, Connected)
    link.acknowledge(delivery)  # too late
    assert not link.is_subscribed(subscription)
    link.subscribe(queue, prefetch=1)
    again = expect(link.inbox, Delivery)
    assert again.redelivered
    assert again.message_id == delivery.message_id


def test_a_question_in_flight_fails_with_its_connection(
    broker_node: BrokerNode, open_link: OpenLink, queue: str
) -> None:
    """It neither hangs nor is asked again: the caller starts over. A publish survives."""
    link = open_link(heartbeat_seconds=1)
    link.declare_queue(queue)

    def ask() -> None:
        while True:
            link.declare_queue(queue)

    broker_node.suspend()
    try:
        with ThreadPoolExecutor(2) as pool:
            question = pool.submit(ask)
            publish = pool.submit(link.publish, [letter(queue)])
            reason = expect(link.inbox, Disconnected).reason  # the broker fell silent
            with pytest.raises(ConnectionLostError, match="heartbeat"):
                question.result(10)
            assert "heartbeat" in reason
            broker_node.wake()
            publish.result(60)
    finally:
        broker_node.wake()
    eventually(lambda: link.connected)
    assert link.declare_queue(queue).num_ready >= 1


def test_a_publish_can_be_given_a_time(
    broker_node: BrokerNode, open_link: OpenLink, queue: str
) -> None:
    """The error says how much is in doubt, and the next batch starts clean."""
    link = open_link()
    link.declare_queue(queue)
    broker_node.suspend()
    try:
        with pytest.raises(BrokerUnreachableError, match="2 messages are in doubt"):
            link.publish([letter(queue, 1), letter(queue, 2)], timeout_seconds=0.3)
    finally:
        broker_node.wake()
    link.publish([letter(queue, 3)], timeout_seconds=30)


def test_closing_does_not_wait_for_a_frozen_broker(
    broker_node: BrokerNode, open_link: OpenLink
) -> None:
    """The time to drain is the bound, and socket and thread go (pytest would complain)."""
    link = open_link()
    before = threading.active_count()
    broker_node.suspend()
    try:
        start = time.monotonic()
        link.close(drain_seconds=0.2)
        assert time.monotonic() - start < 5
    finally:
        broker_node.wake()
    assert threading.active_count() == before - 1


def test_closing_while_disconnected_ends_a_waiting_publish(queue: str) -> None:
    """Whoever publishes hears that the link is closed."""
    with ThreadPoolExecutor(1) as pool:
        link = Link(["amqp://127.0.0.1:1"], name="test")
        link.start()
        outcome = pool.submit(link.publish, [letter(queue)])
        with pytest.raises(BrokerUnreachableError, match="no broker answered"):
            link.wait_connected(0.2)
        link.close(drain_seconds=0.1)
        with pytest.raises(LinkClosedError, match="'test' is closed"):
            outcome.result(10)


def test_closing_lets_a_running_publish_finish(open_link: OpenLink, queue: str) -> None:
    """And sends the acknowledgements that were given before."""
    link = open_link()
    link.declare_queue(queue)
    link.publish([letter(queue, n) for n in range(3)])
    link.subscribe(queue, prefetch=3)
    deliveries = [expect(link.inbox, Delivery) for _ in range(3)]
    started = threading.Event()

    def slow() -> Iterator[Outgoing]:
        yield letter(queue, 10)
        started.set()
        for n in range(200):
            yield letter(queue, 11 + n, bytes(10_000))

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(link.publish, slow())
        started.wait(30)
        link.acknowledge(deliveries[-1], multiple=True)
        link.close(drain_seconds=30)
        outcome.result(10)
    assert open_link().declare_queue(queue).num_ready == 201


def test_a_bug_in_the_io_thread_ends_the_link_in_words(
    open_link: OpenLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in silence: traceback in the log, an event, an error for whoever asks next."""
    link = open_link()

    def bug() -> None:
        raise ZeroDivisionError("a bug")

    link._session.io.post(bug)
    assert expect(link.inbox, Disconnected)
    ended = expect(link.inbox, Ended)
    assert (ended.link, "ZeroDivisionError" in str(ended.error)) == (link, True)
    with pytest.raises(LinkClosedError, match="'test' failed: ZeroDivisionError"):
        link.declare_queue("q")
    assert "I/O thread of the link 'test' failed" in caplog.text


def test_a_link_that_is_closed_has_not_ended_by_itself(open_link: OpenLink) -> None:
    link = open_link()
    link.close()
    assert link.inbox.find(Ended, 0) is None


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
    broker_node: BrokerNode, open_link: OpenLink, queue: str
) -> None:
    """The broker closes the channel with 406; the link says so, and reads again when told."""
    with impatient(broker_node):
        link = open_link()
        link.declare_queue(queue)
        link.publish([letter(queue)])
        link.subscribe(queue, prefetch=1)
        delivery = expect(link.inbox, Delivery)
        lost = expect(link.inbox, SubscriptionLost)
    assert lost.code == 406
    assert "timed out" in lost.text
    link.acknowledge(delivery)  # too late
    link.subscribe(queue, prefetch=1)
    assert expect(link.inbox, Delivery).redelivered
