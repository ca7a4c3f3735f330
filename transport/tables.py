"""AMQP tables as strangers write them, read within bounds and without an exception.

pika reads the headers of a message in its I/O thread, and what its own reader raises ends the
connection: the broker would hand the same message out again on the next one, for ever. RabbitMQ
lets through what pika cannot read, such as a time in the year 300,000,000,000 or a list in a list
in a list, some thousands deep. Here such a value becomes `UNREADABLE`, and whoever needs it finds
the message malformed.

On every table that pika can write, the result equals that of pika's own reader.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from pika.compat import long

MAX_DEPTH: Final = 16
"""Tables and lists within each other; the broker's own greeting has two."""


class Unreadable(Enum):
    """Stands where a value was that cannot be read."""

    VALUE = "unreadable"


UNREADABLE: Final = Unreadable.VALUE

_Convert = Callable[[Any], Any]


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# By the letter that announces a value. pika makes whole numbers of floats; so do we.
_NUMBERS: Final[dict[bytes, tuple[struct.Struct, _Convert]]] = {
    b"t": (struct.Struct(">B"), bool),
    b"b": (struct.Struct(">b"), int),
    b"B": (struct.Struct(">B"), int),
    b"U": (struct.Struct(">h"), int),
    b"s": (struct.Struct(">h"), int),
    b"u": (struct.Struct(">H"), int),
    b"I": (struct.Struct(">i"), int),
    b"i": (struct.Struct(">I"), int),
    b"L": (struct.Struct(">q"), long),
    b"l": (struct.Struct(">q"), long),
    b"f": (struct.Struct(">f"), long),
    b"d": (struct.Struct(">d"), long),
    b"T": (struct.Struct(">Q"), _time),
}
_LENGTH: Final = struct.Struct(">I")
_DECIMAL: Final = struct.Struct(">Bi")


class _EndError(Exception):
    """Raised when nothing that follows in a table or list can be told apart."""


def decode_table(encoded: bytes, offset: int) -> tuple[dict[str | bytes, Any], int]:
    """Return the table that begins at `offset`, and where it ends; stands in for pika's own.

    What follows an unknown kind of value in a table is left out, for its length is not known.
    """
    try:
        begin, end = _extent(encoded, offset, len(encoded))
    except _EndError:
        return {}, len(encoded)
    return _table(encoded, begin, end, 1), end


def _table(encoded: bytes, offset: int, end: int, depth: int) -> dict[str | bytes, Any]:
    table: dict[str | bytes, Any] = {}
    try:
        while offset < end:
            name_end = offset + 1 + encoded[offset]
            if name_end > end:
                break
            name = _text(encoded[offset + 1 : name_end])
            table[name], offset = _value(encoded, name_end, end, depth)
    except _EndError:
        pass
    return table


def _list(encoded: bytes, offset: int, end: int, depth: int) -> list[Any]:
    values: list[Any] = []
    try:
        while offset < end:
            value, offset = _value(encoded, offset, end, depth)
            values.append(value)
    except _EndError:
        pass
    return values


def _value(encoded: bytes, offset: int, end: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins with its letter at `offset`, and where it ends."""
    letter, offset = encoded[offset : min(offset + 1, end)], offset + 1
    if letter in _NUMBERS:
        layout, convert = _NUMBERS[letter]
        (number,), offset = _unpacked(layout, encoded, offset, end)
        return _converted(convert, number), offset
    match letter:
        case b"V":
            return None, offset
        case b"D":
            (decimals, digits), offset = _unpacked(_DECIMAL, encoded, offset, end)
            return Decimal(digits) * Decimal(10) ** -decimals, offset
        case b"S" | b"x" | b"A" | b"F":
            begin, end = _extent(encoded, offset, end)
        case _:
            raise _EndError
    if letter in (b"S", b"x"):
        raw = encoded[begin:end]
        return (_text(raw) if letter == b"S" else raw), end
    if depth >= MAX_DEPTH:
        return UNREADABLE, end
    nested = _list if letter == b"A" else _table
    return nested(encoded, begin, end, depth + 1), end


def _extent(encoded: bytes, offset: int, end: int) -> tuple[int, int]:
    """Return where something begins and ends that says its length first."""
    (length,), begin = _unpacked(_LENGTH, encoded, offset, end)
    if begin + length > end:
        raise _EndError
    return begin, begin + length


def _unpacked(
    layout: struct.Struct, encoded: bytes, offset: int, end: int
) -> tuple[tuple[Any, ...], int]:
    if offset + layout.size > end:
        raise _EndError
    return layout.unpack_from(encoded, offset), offset + layout.size


def _converted(convert: _Convert, number: float) -> Any:
    try:
        return convert(number)
    except (ValueError, OverflowError, OSError):  # no such time, or no finite number
        return UNREADABLE


def _text(raw: bytes) -> str | bytes:
    """Return text where it is UTF-8, as pika does."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
