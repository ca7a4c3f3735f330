"""Headers that strangers write: read as pika reads them where it can, and never an exception."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec, module_from_spec
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import data as pika_data
from pika import spec
from pika.compat import long

from fanfold.transport import Connected, Connection, Delivery, Disconnected
from fanfold.transport.io.consumer import MAX_HEADERS, small_scalars
from fanfold.transport.io.pika_patches import decode_table, read_any_headers
from tests.transport.broker_talk import OpenConnection, eventually, expect


def untouched_pika() -> Any:
    """Return a copy of pika's module that nothing was replaced in."""
    found = find_spec("pika.data")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


THEIRS = untouched_pika()
read_any_headers()


def written(table: dict[str, Any]) -> bytes:
    pieces: list[bytes] = []
    pika_data.encode_table(pieces, table)
    return b"".join(pieces)


def raw_table(*fields: bytes) -> bytes:
    """A table of fields named `x`, `y` and so on, whose values are these bytes, letter and all."""
    names = (b"\x01x", b"\x01y", b"\x01z")
    rows = b"".join(name + field for name, field in zip(names, fields, strict=False))
    return struct.pack(">I", len(rows)) + rows


def nested_lists(depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


FAR_FUTURE = b"T" + struct.pack(">Q", 2**63)
POISON = {
    "a time beyond the calendar": FAR_FUTURE,
    "lists five thousand deep": nested_lists(5000),
    "a float that is no number of ours": b"d" + struct.pack(">d", 1.7e308),
    "a table of names that are no text": b"F" + struct.pack(">I", 3) + b"\x01\xffV",
}
"""What RabbitMQ lets through."""

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=50)
    | st.binary(max_size=50)
    | st.integers(0, 253_370_764_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
    | st.integers(-(2**31), 2**31 - 1).map(Decimal),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=50), VALUES), st.binary(max_size=5))
def test_what_pika_can_write_is_read_as_pika_reads_it(table: dict[str, Any], rest: bytes) -> None:
    encoded = b"before" + written(table) + rest
    assert decode_table(encoded, 6) == THEIRS.decode_table(encoded, 6)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything(encoded: bytes) -> None:
    table, end = decode_table(encoded, 0)
    assert isinstance(table, dict)
    assert 0 <= end <= len(encoded)


@given(st.lists(st.sampled_from([bytes([n]) for n in b"tbBUsuIiLlfdTDSxAFVZ\x00\x01\xff"])))
def test_no_order_of_letters_raises_anything(letters: list[bytes]) -> None:
    decode_table(struct.pack(">I", 2 * len(letters)) + b"".join(letters) * 2, 0)


@pytest.mark.parametrize("value", [FAR_FUTURE, b"d\x7f\xf8" + bytes(6), nested_lists(5000), b"Z"])
def test_a_table_that_cannot_be_read_is_empty_and_the_rest_is_read(value: bytes) -> None:
    """The tables around it, and what follows."""
    inner = raw_table(value)
    outer = raw_table(b"F" + inner, b"I\0\0\0\7") + b"rest"
    assert decode_table(inner + b"rest", 0) == ({}, len(inner))
    assert decode_table(outer, 0) == ({"x": {}, "y": 7}, len(outer) - 4)


def test_no_byte_is_read_again_and_again() -> None:
    """A hundred tables, each with a list that claims all that follows: 2^100 steps otherwise."""
    lying = b"A" + struct.pack(">I", 2**31)
    table = b"F" + raw_table(lying)
    encoded = raw_table(lying + 100 * table)
    assert decode_table(encoded, 0) == ({}, len(encoded))


def test_the_properties_of_a_message_use_our_reader() -> None:
    """If this fails, pika reads headers in another way: look again at what can raise there."""
    read_any_headers()
    assert "decode_table" in spec.BasicProperties.decode.__code__.co_names
    assert spec.data is pika_data
    properties = spec.BasicProperties()
    flags = struct.pack(">H", spec.BasicProperties.FLAG_HEADERS)
    properties.decode(flags + raw_table(FAR_FUTURE))
    assert properties.headers == {}


def test_only_small_scalars_are_kept_of_a_messages_headers() -> None:
    """A hundred thousand nothings, and texts of any length, take no room while a message waits."""
    kept = small_scalars(
        {"a": 1, "b": "text", "c": True, "d": long(2**40), b"e": 1, "f": "x" * 1025, "g": [1]}
        | {"i": None, "j": b"raw", "k": {}}
    )
    assert kept == {"a": 1, "b": "text", "c": True, "d": 2**40}
    assert len(small_scalars({str(n): n for n in range(10_000)})) == MAX_HEADERS


class Poisoned(pika.BasicProperties):
    """Properties whose headers are these bytes."""

    def __init__(self, headers: bytes) -> None:
        super().__init__(type="Letter")
        self._bytes = headers

    def encode(self) -> list[bytes]:
        flags = self.FLAG_HEADERS | self.FLAG_TYPE
        return [struct.pack(">H", flags), self._bytes, b"\x06Letter"]


@pytest.fixture
def raw(broker_url: str) -> Iterator[Any]:
    """A channel of plain pika's, which can be made to say anything."""
    pika_connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    yield pika_connection.channel()
    pika_connection.close()


@pytest.mark.parametrize("what", POISON)
def test_a_poisoned_message_is_delivered_and_ends_nothing(
    what: str, raw: Any, open_connection: OpenConnection, queue: str
) -> None:
    """The broker takes it; with pika's own reader it would end every connection that reads it."""
    connection: Connection = open_connection()
    expect(connection.event_buffer, Connected)
    connection.declare_queue(queue)
    raw.basic_publish("", queue, b"body", Poisoned(raw_table(POISON[what], b"I\0\0\0\7")))
    connection.subscribe(queue, prefetch=10)
    delivery = expect(connection.event_buffer, Delivery)
    assert (delivery.body, delivery.kind) == (b"body", "Letter")
    assert delivery.headers.get("y") in (None, 7)  # a table that cannot be read is empty
    connection.acknowledge(delivery)
    eventually(lambda: connection.declare_queue(queue).num_ready == 0)
    assert connection.connected
    assert not isinstance(connection.event_buffer.get(0), Disconnected)
