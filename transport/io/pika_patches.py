"""Everything that reaches into pika's private parts, in one place, so that a test can watch it."""

from typing import Any

import pika
from pika import data as pika_data
from pika import exceptions as pika_errors
from pika.adapters.utils import io_services_utils

_RECV_BYTES = 128 * 1024
_CONSUME_BYTES = 1024 * 1024
_LENGTH_BYTES = 4
_decode_table: Any = pika_data.decode_table  # before `read_any_headers` takes its place


def read_in_larger_pieces() -> None:
    """Read 128 KiB, one frame, from the socket at a time: pika's 4 KiB halve its throughput.

    pika appends each piece to an immutable buffer, so a frame of 128 KiB is copied 32 times over.
    Without the attributes (another pika) everything works, only slower.
    """
    transport: Any = io_services_utils._AsyncTransportBase  # no public setting
    transport._MAX_RECV_BYTES = _RECV_BYTES
    transport._MAX_CONSUME_BYTES = _CONSUME_BYTES


def read_any_headers() -> None:
    """Read the headers of messages with a reader that a stranger cannot make raise.

    pika reads them in its I/O thread, and what its own reader raises ends the connection: the
    broker would hand the same message out again on the next one, for ever. RabbitMQ lets through
    what pika cannot read, such as a time in the year 300,000,000,000 or lists in lists, thousands
    deep.

    The properties of a message, and tables in tables, look `decode_table` up in `pika.data` each
    time.
    """
    pika_data.decode_table = decode_table


def decode_table(encoded: bytes, offset: int) -> tuple[dict[str | bytes, Any], int]:
    """Return the table that begins at `offset`, empty if pika cannot read it, and where it ends.

    pika is handed the bytes of this table alone. Else a list in it that claims to be longer would
    read what follows the table, which is then read once more: twice as long for each such table.
    """
    begin = offset + _LENGTH_BYTES
    length = int.from_bytes(encoded[offset:begin])
    end = min(begin + length, len(encoded))
    try:
        table, read = _decode_table(encoded[offset:end], 0)
    except Exception:  # noqa: BLE001 - a dozen kinds, and each would end the connection
        return {}, end
    return (table if read == _LENGTH_BYTES + length else {}), end


def abort(connection: pika.SelectConnection) -> None:
    """Drop the TCP connection without waiting for the broker; the close callback follows."""
    private: Any = connection
    private._terminate_stream(  # close() waits for an answer
        pika_errors.ConnectionClosedByClient(200, "the broker did not answer in time")
    )
