"""Too much to take: full event buffers, busy interpreters, brokers short of memory."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from broker_talk import OpenConnection, eventually, expect, letter
from nodes import BrokerNode

from fanfold.transport import (
    Blocked,
    Connected,
    Connection,
    Delivery,
    Disconnected,
    EventBuffer,
    Subscription,
    Unblocked,
)
from fanfold.transport.events import ENVELOPE_BYTES

ROOM = 2 * (500_000 + 2 * ENVELOPE_BYTES)


def press_into(
    event_buffer: EventBuffer, open_connection: OpenConnection, queue: str
) -> Connection:
    """Have 20 deliveries of 500 kB wait for `event_buffer`; return the connection they come on."""
    connection: Connection = open_connection(event_buffer=event_buffer, heartbeat_seconds=60)
    connection.declare_queue(queue)
    connection.subscribe(queue, prefetch=20)
    # By another connection: a thread that somebody waits for does not wait for room.
    open_connection().publish([letter(queue, n, bytes(500_000)) for n in range(20)])
    return connection


def delivery(num_bytes: int) -> Delivery:
    subscription = Subscription("queue", "tag", 1)
    return Delivery(subscription, 1, False, "Letter", "1", None, {}, bytes(num_bytes))


def test_an_event_buffer_holds_deliveries_back_but_no_events() -> None:
    """A second delivery waits until the first is taken; an event does not wait."""
    event_buffer = EventBuffer(max_bytes=10)
    event_buffer.put(delivery(8), patience_seconds=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(event_buffer.put, delivery(8), patience_seconds=60)
        event_buffer.put_event("an event")
        assert len(event_buffer) == 2
        assert isinstance(event_buffer.get(1), Delivery)
        waiting.result(30)
    assert event_buffer.get(1) == "an event"
    assert isinstance(event_buffer.get(1), Delivery)
    assert event_buffer.get(0) is None
    assert event_buffer.num_bytes == 0


def test_a_delivery_larger_than_the_event_buffer_enters_when_it_is_empty() -> None:
    """Otherwise it could never be read."""
    event_buffer = EventBuffer(max_bytes=10)
    event_buffer.put(delivery(1000), patience_seconds=60)
    assert 1000 < event_buffer.num_bytes < 1000 + 2 * ENVELOPE_BYTES


def test_a_message_without_a_body_weighs_something_too() -> None:
    """Otherwise empty messages with large headers would fill the memory, uncounted."""
    event_buffer = EventBuffer()
    headers = {"x": "y" * 1000}
    for _ in range(100):
        event_buffer.put(replace(delivery(0), headers=headers), patience_seconds=0)
    assert event_buffer.num_bytes > 100 * (1000 + ENVELOPE_BYTES)
    while event_buffer.get(0):
        pass
    assert event_buffer.num_bytes == 0


def test_patience_ends() -> None:
    """An I/O thread has heartbeats to send, so nothing is held back for ever."""
    event_buffer = EventBuffer(max_bytes=10)
    for _ in range(3):
        event_buffer.put(delivery(8), patience_seconds=0)
    assert len(event_buffer) == 3


def test_a_slow_reader_holds_the_broker_back(open_connection: OpenConnection, queue: str) -> None:
    """20 deliveries of 500 kB pass through an event buffer of room for two."""
    event_buffer = EventBuffer(max_bytes=ROOM)
    press_into(event_buffer, open_connection, queue)
    eventually(lambda: event_buffer.num_bytes > 1_000_000)
    for number in range(20):
        assert event_buffer.num_bytes <= ROOM
        assert expect(event_buffer, Delivery).message_id == f"{queue}/{number}"


def test_acknowledging_lets_nothing_into_a_full_event_buffer(
    open_connection: OpenConnection, queue: str
) -> None:
    """It can wait until there is room; what is large cannot be taken in for each small one."""
    event_buffer = EventBuffer(max_bytes=ROOM)
    connection = press_into(event_buffer, open_connection, queue)
    taken = [expect(event_buffer, Delivery) for _ in range(5)]
    eventually(lambda: event_buffer.num_bytes > 1_000_000)
    for each in taken:
        connection.acknowledge(each)
        time.sleep(0.05)  # a thread that is called to something else is back within a millisecond
        assert event_buffer.num_bytes <= ROOM


def test_a_full_event_buffer_does_not_keep_heartbeats_back(
    open_connection: OpenConnection, queue: str
) -> None:
    """Forty deliveries that find no room share one wait: the connection lives."""
    event_buffer = EventBuffer(max_bytes=1)
    connection = open_connection(event_buffer=event_buffer, heartbeat_seconds=1)
    expect(event_buffer, Connected)
    connection.declare_queue(queue)
    connection.publish([letter(queue, n) for n in range(40)])
    connection.subscribe(queue, prefetch=40)
    eventually(lambda: len(event_buffer) == 40)
    assert connection.connected
    assert all(isinstance(event_buffer.get(1), Delivery) for _ in range(40))


def test_a_post_never_waits_for_room(open_connection: OpenConnection, queue: str) -> None:
    """Eight threads ask 25 questions each while deliveries press into a full event buffer."""
    connection = open_connection(event_buffer=EventBuffer(max_bytes=1), heartbeat_seconds=60)
    connection.declare_queue(queue)
    connection.publish([letter(queue, n) for n in range(300)])
    connection.subscribe(queue, prefetch=300)
    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        for outcome in [pool.submit(connection.delete_queue, f"{queue}-{n}") for n in range(200)]:
            outcome.result(30)
    assert time.monotonic() - start < 15  # one overlooked post waits for 20 s
    assert connection.connected


def test_heartbeats_go_out_while_a_thread_burns_the_interpreter(
    open_connection: OpenConnection, queue: str
) -> None:
    """Four seconds of Python in another thread, heartbeats of one second, one connection."""
    event_buffer = EventBuffer()
    connection = open_connection(event_buffer=event_buffer, heartbeat_seconds=1)
    expect(event_buffer, Connected)
    connection.declare_queue(queue)
    burnt = threading.Event()

    def burn() -> None:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            sum(range(10_000))
        burnt.set()

    threading.Thread(target=burn, daemon=True).start()
    assert burnt.wait(60)
    connection.publish([letter(queue)])
    assert connection.connected
    assert not any(isinstance(event, Disconnected) for event in _all(event_buffer))


def _all(event_buffer: EventBuffer) -> list[object]:
    return [event_buffer.get(0) for _ in range(len(event_buffer))]


def test_a_broker_short_of_memory_only_delays_a_publish(
    broker_node: BrokerNode, open_connection: OpenConnection, queue: str
) -> None:
    """Blocked, then Unblocked, then confirmed; a connection that only reads goes on meanwhile."""
    writer, reader = (
        open_connection(event_buffer=EventBuffer()),
        open_connection(event_buffer=EventBuffer()),
    )
    writer.declare_queue(queue)
    writer.publish([letter(queue, 1)])
    with ThreadPoolExecutor(1) as pool:
        try:
            broker_node.ctl("set_vm_memory_high_watermark", "0.0000001")
            outcome = pool.submit(writer.publish, [letter(queue, 2)])
            assert "memory" in expect(writer.event_buffer, Blocked).reason
            reader.subscribe(queue, prefetch=2)
            reader.acknowledge(expect(reader.event_buffer, Delivery))
            assert not outcome.done()
        finally:
            broker_node.ctl("set_vm_memory_high_watermark", "0.4")
        expect(writer.event_buffer, Unblocked)
        outcome.result(30)
    assert expect(reader.event_buffer, Delivery).message_id == f"{queue}/2"
    assert writer.connected
