"""Too much to take: full inboxes, busy interpreters, brokers short of memory."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from broker_talk import OpenLink, eventually, expect, letter
from nodes import BrokerNode

from transport import (
    Blocked,
    Connected,
    Delivery,
    Disconnected,
    Inbox,
    Link,
    Subscription,
    Unblocked,
)
from transport.events import ENVELOPE_BYTES

ROOM = 2 * (500_000 + 2 * ENVELOPE_BYTES)


def press_into(inbox: Inbox, open_link: OpenLink, queue: str) -> Link:
    """Have 20 deliveries of 500 kB wait for `inbox`, and return the link that reads them."""
    link: Link = open_link(inbox=inbox, heartbeat_seconds=60)
    link.declare_queue(queue)
    link.subscribe(queue, prefetch=20)
    # By another link: a thread that somebody waits for does not wait for room.
    open_link().publish([letter(queue, n, bytes(500_000)) for n in range(20)])
    return link


def delivery(num_bytes: int) -> Delivery:
    subscription = Subscription("queue", "tag", 1)
    return Delivery(subscription, 1, False, "Letter", "1", None, {}, bytes(num_bytes))


def test_an_inbox_holds_deliveries_back_but_no_events() -> None:
    """A second delivery waits until the first is taken; an event does not wait."""
    inbox = Inbox(max_bytes=10)
    inbox.put(delivery(8), patience_seconds=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(inbox.put, delivery(8), patience_seconds=60)
        inbox.put_event("an event")
        assert len(inbox) == 2
        assert isinstance(inbox.get(1), Delivery)
        waiting.result(30)
    assert inbox.get(1) == "an event"
    assert isinstance(inbox.get(1), Delivery)
    assert inbox.get(0) is None
    assert inbox.num_bytes == 0


def test_a_delivery_larger_than_the_inbox_enters_when_it_is_empty() -> None:
    """Otherwise it could never be read."""
    inbox = Inbox(max_bytes=10)
    inbox.put(delivery(1000), patience_seconds=60)
    assert 1000 < inbox.num_bytes < 1000 + 2 * ENVELOPE_BYTES


def test_a_message_without_a_body_weighs_something_too() -> None:
    """Otherwise empty messages with large headers would fill the memory, uncounted."""
    inbox = Inbox()
    headers = {"x": "y" * 1000}
    for _ in range(100):
        inbox.put(replace(delivery(0), headers=headers), patience_seconds=0)
    assert inbox.num_bytes > 100 * (1000 + ENVELOPE_BYTES)
    while inbox.get(0):
        pass
    assert inbox.num_bytes == 0


def test_patience_ends() -> None:
    """An I/O thread has heartbeats to send, so nothing is held back for ever."""
    inbox = Inbox(max_bytes=10)
    for _ in range(3):
        inbox.put(delivery(8), patience_seconds=0)
    assert len(inbox) == 3


def test_a_slow_reader_holds_the_broker_back(open_link: OpenLink, queue: str) -> None:
    """20 deliveries of 500 kB pass through an inbox of room for two."""
    inbox = Inbox(max_bytes=ROOM)
    press_into(inbox, open_link, queue)
    eventually(lambda: inbox.num_bytes > 1_000_000)
    for number in range(20):
        assert inbox.num_bytes <= ROOM
        assert expect(inbox, Delivery).message_id == f"{queue}/{number}"


def test_acknowledging_lets_nothing_into_a_full_inbox(open_link: OpenLink, queue: str) -> None:
    """It can wait until there is room; what is large cannot be taken in for each small one."""
    inbox = Inbox(max_bytes=ROOM)
    link = press_into(inbox, open_link, queue)
    taken = [expect(inbox, Delivery) for _ in range(5)]
    eventually(lambda: inbox.num_bytes > 1_000_000)
    for each in taken:
        link.acknowledge(each)
        time.sleep(0.05)  # a thread that is called to something else is back within a millisecond
        assert inbox.num_bytes <= ROOM


def test_a_full_inbox_does_not_keep_heartbeats_back(open_link: OpenLink, queue: str) -> None:
    """Forty deliveries that find no room share one wait: the connection lives."""
    inbox = Inbox(max_bytes=1)
    link = open_link(inbox=inbox, heartbeat_seconds=1)
    expect(inbox, Connected)
    link.declare_queue(queue)
    link.publish([letter(queue, n) for n in range(40)])
    link.subscribe(queue, prefetch=40)
    eventually(lambda: len(inbox) == 40)
    assert link.connected
    assert all(isinstance(inbox.get(1), Delivery) for _ in range(40))


def test_a_post_never_waits_for_room(open_link: OpenLink, queue: str) -> None:
    """Eight threads ask 25 questions each while deliveries press into a full inbox."""
    link = open_link(inbox=Inbox(max_bytes=1), heartbeat_seconds=60)
    link.declare_queue(queue)
    link.publish([letter(queue, n) for n in range(300)])
    link.subscribe(queue, prefetch=300)
    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        for outcome in [pool.submit(link.delete_queue, f"{queue}-{n}") for n in range(200)]:
            outcome.result(30)
    assert time.monotonic() - start < 15  # one overlooked post waits for 20 s
    assert link.connected


def test_heartbeats_go_out_while_a_thread_burns_the_interpreter(
    open_link: OpenLink, queue: str
) -> None:
    """Four seconds of Python in another thread, heartbeats of one second, one connection."""
    inbox = Inbox()
    link = open_link(inbox=inbox, heartbeat_seconds=1)
    expect(inbox, Connected)
    link.declare_queue(queue)
    burnt = threading.Event()

    def burn() -> None:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            sum(range(10_000))
        burnt.set()

    threading.Thread(target=burn, daemon=True).start()
    assert burnt.wait(60)
    link.publish([letter(queue)])
    assert link.connected
    assert not any(isinstance(event, Disconnected) for event in _all(inbox))


def _all(inbox: Inbox) -> list[object]:
    return [inbox.get(0) for _ in range(len(inbox))]


def test_a_broker_short_of_memory_only_delays_a_publish(
    broker_node: BrokerNode, open_link: OpenLink, queue: str
) -> None:
    """Blocked, then Unblocked, then confirmed; a link that only reads goes on meanwhile."""
    writer, reader = open_link(inbox=Inbox()), open_link(inbox=Inbox())
    writer.declare_queue(queue)
    writer.publish([letter(queue, 1)])
    with ThreadPoolExecutor(1) as pool:
        try:
            broker_node.ctl("set_vm_memory_high_watermark", "0.0000001")
            outcome = pool.submit(writer.publish, [letter(queue, 2)])
            assert "memory" in expect(writer.inbox, Blocked).reason
            reader.subscribe(queue, prefetch=2)
            reader.acknowledge(expect(reader.inbox, Delivery))
            assert not outcome.done()
        finally:
            broker_node.ctl("set_vm_memory_high_watermark", "0.4")
        expect(writer.inbox, Unblocked)
        outcome.result(30)
    assert expect(reader.inbox, Delivery).message_id == f"{queue}/2"
    assert writer.connected
