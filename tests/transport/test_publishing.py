"""What `publish` promises: confirmed, refused in words, or an error; never lost in silence."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from broker_talk import OpenConnection, eventually, expect, letter
from nodes import BrokerNode

from fanfold.schemas.errors import (
    BrokerUnreachableError,
    MessageTooLargeError,
    PublishCancelledError,
    QueueFullError,
    RefusedByBrokerError,
    TransportError,
    UnroutableError,
)
from fanfold.transport import Connection, Delivery, Outgoing
from fanfold.transport.io.publish_batch import PublishBatch


def test_publish_returns_when_everything_is_in_the_queue(
    connection: Connection, queue: str
) -> None:
    """500 messages, and no delivery is on its way any more."""
    connection.declare_queue(queue)
    connection.publish(letter(queue, n) for n in range(500))
    assert connection.declare_queue(queue).num_ready == 500


def test_a_long_stream_passes_through_a_small_window(
    open_connection: OpenConnection, queue: str
) -> None:
    """The window bounds what is in doubt, not the message: one that is larger goes alone."""
    connection = open_connection(window_bytes=4000)
    connection.declare_queue(queue)
    sizes = [1, 900, 5000, 300, 300, 300, 300, 0, 2000]
    connection.publish(letter(queue, n, bytes(size)) for n, size in enumerate(sizes))

    connection.subscribe(queue, prefetch=100)
    assert [len(expect(connection.event_buffer, Delivery).body) for _ in sizes] == sizes


def test_a_memoryview_is_published_as_its_bytes(connection: Connection, queue: str) -> None:
    """What the codec cuts are views of tensors."""
    connection.declare_queue(queue)
    connection.publish([replace(letter(queue), body=memoryview(b"0123456789")[2:5])])
    connection.subscribe(queue, prefetch=1)
    assert expect(connection.event_buffer, Delivery).body == b"234"


def test_a_mandatory_message_without_a_queue_is_an_error(
    connection: Connection, queue: str
) -> None:
    """It names the message; the next batch is not touched by it."""
    with pytest.raises(UnroutableError, match=f"no queue takes {queue}/0"):
        connection.publish(letter(queue, n) for n in range(20))

    connection.declare_queue(queue)
    connection.publish([letter(queue, 99)])
    assert connection.declare_queue(queue).num_ready == 1


def test_nobody_listening_to_a_fanout_is_no_error(connection: Connection, queue: str) -> None:
    """Without `mandatory`, a message that finds no queue is confirmed and gone."""
    exchange = f"{queue}-fanout"
    connection.declare_exchange(exchange, "fanout")
    connection.publish([Outgoing(exchange, "", b"hello", "Letter", "1", mandatory=False)])
    connection.declare_queue(queue)
    connection.bind_queue(queue, exchange)
    connection.publish([Outgoing(exchange, "", b"hello", "Letter", "2", mandatory=False)])
    assert connection.declare_queue(queue).num_ready == 1


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(
    connection: Connection, queue: str
) -> None:
    """A participant backs off and tries again: nothing is dropped."""
    arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
    connection.declare_queue(queue, arguments=arguments)
    with pytest.raises(QueueFullError, match=f"'{queue}' takes no more"):
        connection.publish(letter(queue, n) for n in range(10))

    subscription = connection.subscribe(queue, prefetch=2)
    for _ in range(2):
        connection.acknowledge(expect(connection.event_buffer, Delivery))
    connection.unsubscribe(subscription)
    connection.publish([letter(queue, 10)])


def test_an_unknown_exchange_is_refused_with_404(connection: Connection, queue: str) -> None:
    """The connection goes on."""
    with pytest.raises(RefusedByBrokerError, match="404") as refusal:
        connection.publish([Outgoing("no-such-exchange", "", b"hello", "Letter", "1")])
    assert refusal.value.code == 404
    connection.declare_queue(queue)
    connection.publish([letter(queue)])


def test_a_header_that_cannot_be_written_is_an_error_of_that_batch(
    connection: Connection, queue: str
) -> None:
    """AMQP integers end at 64 bits; connection and next batch live on."""
    connection.declare_queue(queue)
    with pytest.raises(TransportError, match=r"too large|format|range|int"):
        connection.publish([letter(queue, headers={"version": 1 << 80})])
    connection.publish([letter(queue)])
    assert connection.connected


def test_a_source_that_fails_leaves_nothing_to_the_next_batch(
    connection: Connection, queue: str
) -> None:
    """The caller's own error comes through, and later publishes are confirmed for themselves."""
    connection.declare_queue(queue)

    def broken() -> Iterator[Outgoing]:
        yield letter(queue, 1)
        raise KeyError("the source broke")

    for _ in range(20):
        with pytest.raises(KeyError, match="the source broke"):
            connection.publish(broken())
        connection.publish([letter(queue, 2)])
    assert connection.declare_queue(queue).num_ready >= 20


def test_messages_without_a_body_weigh_something_too(queue: str) -> None:
    """Otherwise a window of bytes would let millions of small ones through."""
    batch = PublishBatch(window_bytes=10_000, deadline=0.0)
    for _ in range(9):
        batch.hand_over(letter(queue, body=b""))
    with pytest.raises(BrokerUnreachableError, match="9 messages are in doubt"):
        batch.hand_over(letter(queue, body=b""))


def test_batches_of_several_threads_are_not_mixed(connection: Connection, queue: str) -> None:
    """Each publish is one run of messages, whichever came first."""
    connection.declare_queue(queue)
    with ThreadPoolExecutor(4) as pool:
        for outcome in [
            pool.submit(connection.publish, [letter(queue, 100 * who + n) for n in range(50)])
            for who in range(4)
        ]:
            outcome.result(30)

    connection.subscribe(queue, prefetch=200)
    ids = [
        int(expect(connection.event_buffer, Delivery).message_id.rpartition("/")[2])
        for _ in range(200)
    ]
    starts = ids[::50]
    assert sorted(starts) == [0, 100, 200, 300]
    assert ids == [start + n for start in starts for n in range(50)]


def test_a_publish_that_waits_can_be_given_up(open_connection: OpenConnection, queue: str) -> None:
    """From another thread: a participant that must leave does not wait for the broker."""
    connection = open_connection(window_bytes=100_000)
    connection.declare_queue(queue)

    def endless() -> Iterator[Outgoing]:
        while True:
            yield letter(queue)

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(connection.publish, endless())
        eventually(lambda: connection.declare_queue(queue).num_ready)
        connection.cancel_publish()
        with pytest.raises(PublishCancelledError, match="given up"):
            outcome.result(30)
    connection.publish([letter(queue)])


def test_each_message_that_is_confirmed_is_told_in_the_callers_thread(
    open_connection: OpenConnection, queue: str
) -> None:
    """Also those before one that a full queue refused."""
    connection = open_connection(window_bytes=4000)
    room = {"x-max-length": 3, "x-overflow": "reject-publish"}
    connection.declare_queue(queue, arguments=room)
    told: list[tuple[str, int]] = []

    def tell(message: Outgoing) -> None:
        told.append((message.message_id, threading.get_ident()))

    letters = [letter(queue, n, bytes(1500)) for n in range(5)]
    with pytest.raises(QueueFullError, match="takes no more"):
        connection.publish(letters, confirmed=tell)
    assert told == [(each.message_id, threading.get_ident()) for each in letters[:3]]


def test_what_is_confirmed_is_told_before_the_time_is_up(queue: str) -> None:
    told: list[Outgoing] = []
    batch = PublishBatch(window_bytes=10_000, deadline=0.0, tell=told.append)
    first, second = letter(queue, 1), letter(queue, 2)
    batch.hand_over(first)
    batch.hand_over(second)
    batch.confirmed(second)
    with pytest.raises(BrokerUnreachableError, match="1 messages are in doubt"):
        batch.wait_confirmed()
    assert told == [second]


def test_a_window_holds_back_until_something_is_confirmed(queue: str) -> None:
    """Bytes in doubt never exceed it; past the deadline the wait is an error."""
    batch = PublishBatch(window_bytes=10_000, deadline=0.0)  # long ago: nothing may wait
    first, second = letter(queue, 1, bytes(6000)), letter(queue, 2, bytes(6000))
    batch.hand_over(first)
    with pytest.raises(BrokerUnreachableError, match="1 messages are in doubt"):
        batch.hand_over(second)
    batch.confirmed(batch.to_send.popleft())
    batch.hand_over(second)
    batch.confirmed(batch.to_send.popleft())
    batch.wait_confirmed()


@pytest.mark.slow
def test_a_message_over_the_brokers_limit_names_the_option(queue: str) -> None:
    """Waiting would not help, and the broker's own words name no option of ours."""
    with (
        BrokerNode.start(configuration={"max_message_size": str(1 << 20)}) as node,
        Connection([node.url], name="test") as connection,
    ):
        connection.wait_connected(30)
        connection.declare_queue(queue)
        words = r"takes no message of 1048577 bytes .* choose a smaller --chunk-bytes"
        with pytest.raises(MessageTooLargeError, match=words):
            connection.publish(
                letter(queue, n, bytes(size)) for n, size in enumerate((9, (1 << 20) + 1))
            )
        connection.publish([letter(queue, 1, bytes(1 << 20))])


def test_a_message_goes_to_several_keys_at_once(connection: Connection, queue: str) -> None:
    """Each queue has it once, and none of them sees who else got it."""
    exchange, names = f"{queue}-direct", [f"{queue}-{n}" for n in range(3)]
    connection.declare_exchange(exchange, "direct")
    for name in names:
        connection.declare_queue(name)
        connection.bind_queue(name, exchange, name)
    connection.publish([Outgoing(exchange, names[0], b"hello", "Letter", "1", others=names[1:])])
    for name in names:
        connection.subscribe(name, prefetch=1)
        delivery = expect(connection.event_buffer, Delivery)
        assert (delivery.subscription.queue, delivery.body) == (name, b"hello")
        assert "BCC" not in delivery.headers
        connection.delete_queue(name)
