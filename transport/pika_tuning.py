"""Everything that reaches into pika's private parts, in one place, so that a test can watch it."""

import pika
from pika import data as pika_data
from pika import exceptions as pika_errors
from pika.adapters.utils import io_services_utils

from transport.tables import decode_table

_RECV_BYTES = 128 * 1024
_CONSUME_BYTES = 1024 * 1024


def read_in_larger_pieces() -> None:
    """Read 128 KiB, one frame, from the socket at a time: pika's 4 KiB halve its throughput.

    pika appends each piece to an immutable buffer, so a frame of 128 KiB is copied 32 times over.
    Without the attributes (another pika) everything works, only slower.
    """
    transport = io_services_utils._AsyncTransportBase  # noqa: SLF001 - no public setting
    transport._MAX_RECV_BYTES = _RECV_BYTES  # noqa: SLF001 - as above
    transport._MAX_CONSUME_BYTES = _CONSUME_BYTES  # noqa: SLF001 - as above


def read_any_headers() -> None:
    """Read the headers of messages with a reader that a stranger cannot make raise.

    The properties of a message look `decode_table` up in `pika.data` each time.
    """
    pika_data.decode_table = decode_table


def abort(connection: pika.SelectConnection) -> None:
    """Drop the TCP connection without waiting for the broker; the close callback follows."""
    connection._terminate_stream(  # noqa: SLF001 - close() waits for an answer
        pika_errors.ConnectionClosedByClient(200, "the broker did not answer in time")
    )
