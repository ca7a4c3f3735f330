"""A bound on bytes per second: kept in both directions, over all connections together."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from broker_talk import OpenConnection, expect, letter

from fanfold.transport import Connection, Delivery, EventBuffer, Pace, Paces
from fanfold.transport.pace import LARGEST_PIECE_BYTES, LEAST_PIECE_BYTES

RATE = 1_000_000
BODY = os.urandom(RATE)


class Waits:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def pace(bytes_per_second: int) -> tuple[Pace, Waits]:
    waits = Waits()
    return Pace(bytes_per_second, clock=lambda: waits.now, sleep=waits.sleep), waits


def test_bytes_take_the_time_that_the_bound_gives_them() -> None:
    bounded, waits = pace(1000)
    for _ in range(5):
        bounded.spend(500)
    assert waits.now == pytest.approx(2.5)


def test_a_pause_saves_nothing_up() -> None:
    bounded, waits = pace(1000)
    waits.now = 100.0
    bounded.spend(500)
    assert waits.now == pytest.approx(100.5)


def test_pieces_are_short_pauses_and_no_smaller_than_they_need_to_be() -> None:
    assert pace(1_000_000)[0].piece_bytes == 50_000
    assert pace(1)[0].piece_bytes == LEAST_PIECE_BYTES
    assert pace(10**9)[0].piece_bytes == LARGEST_PIECE_BYTES


def test_threads_share_one_bound() -> None:
    bounded = Pace(RATE)
    began = time.monotonic()
    with ThreadPoolExecutor() as threads:
        list(threads.map(bounded.spend, [RATE // 20] * 10))
    assert time.monotonic() - began >= 0.45


def test_what_goes_up_keeps_the_bound_and_arrives_whole(
    open_connection: OpenConnection, queue: str
) -> None:
    """And the connection hears all the while."""
    events, plain = EventBuffer(), open_connection()
    sender = open_connection(event_buffer=events, paces=Paces(up=Pace(RATE)), heartbeat_seconds=2)
    for name in (queue, f"{queue}-back"):
        sender.declare_queue(name)
    sender.subscribe(f"{queue}-back", prefetch=10)
    began = time.monotonic()
    with ThreadPoolExecutor() as threads:
        sending = threads.submit(sender.publish, [letter(queue, n, BODY) for n in range(2)])
        for number in range(5):
            plain.publish([letter(f"{queue}-back", number)])
            expect(events, Delivery)
        assert not sending.done()
        sending.result()
    assert time.monotonic() - began >= 1.8
    assert received(open_connection, queue, 2) == [BODY, BODY]


def test_what_comes_down_keeps_the_bound(open_connection: OpenConnection, queue: str) -> None:
    plain = open_connection()
    plain.declare_queue(queue)
    plain.publish([letter(queue, n, BODY) for n in range(2)])
    began = time.monotonic()
    assert received(open_connection, queue, 2, paces=Paces.of(RATE)) == [BODY, BODY]
    assert time.monotonic() - began >= 1.5  # what the kernel held is read at once


def received(
    open_connection: OpenConnection, queue: str, count: int, **options: object
) -> list[bytes]:
    events = EventBuffer()
    reader: Connection = open_connection(event_buffer=events, **options)
    reader.subscribe(queue, prefetch=count)
    return [expect(events, Delivery).body for _ in range(count)]


def test_a_slow_line_has_little_on_its_way() -> None:
    """Giving up an upload need not wait for 16 MB."""
    assert Paces.of(50_000).sent_ahead(16 << 20) == 50_000
    assert Paces.of(1 << 30).sent_ahead(16 << 20) == 16 << 20
    assert Paces.of(None).sent_ahead(16 << 20) == 16 << 20
