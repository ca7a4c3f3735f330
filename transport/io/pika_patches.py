"""Everything that reaches into pika's private parts, in one place, so that a test can watch it."""

import errno
import socket
import ssl
from functools import partial
from typing import Any

import pika
from pika import data as pika_data
from pika import exceptions as pika_errors
from pika.adapters.utils import io_services_utils

from fanfold.transport.pace import Pace, Paces

_RECV_BYTES = 128 * 1024
_CONSUME_BYTES = 1024 * 1024
_PIECES_AHEAD = 8
"""What the kernel holds of what was not read yet; Linux doubles it for its own needs."""
_JUST_SENT = "a piece was sent just now"
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


def keep_pace(connection: pika.SelectConnection, paces: Paces) -> None:
    """Read and write in small pieces from now on, each followed by the pause that is due.

    The pauses are short, and between two pieces the loop sees to everything else. The kernel keeps
    little of what was not read yet, so that the broker waits, too.
    """
    private: Any = connection
    transport = private._transport  # no public setting
    if paces.down is not None:
        piece = paces.down.piece_bytes
        transport._MAX_RECV_BYTES = transport._MAX_CONSUME_BYTES = piece
        transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECES_AHEAD * piece)
        transport._sigint_safe_recv = partial(_receive, paces.down)
    if paces.up is not None:
        transport._sigint_safe_send = _Sender(paces.up)


def _receive(pace: Pace, sock: socket.socket, max_bytes: int) -> bytes:
    data = sock.recv(max_bytes)
    pace.spend(len(data))
    return data


class _Sender:
    """Sends a piece, and the next time says that the socket takes no more for now.

    pika would go on to write all that it has, and read nothing meanwhile.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._has_sent = False

    def __call__(self, sock: socket.socket, data: bytes) -> int:
        self._has_sent = not self._has_sent
        if not self._has_sent:
            if isinstance(sock, ssl.SSLSocket):
                raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, _JUST_SENT)
            raise BlockingIOError(errno.EAGAIN, _JUST_SENT)
        sent = sock.send(memoryview(data)[: self._pace.piece_bytes])
        self._pace.spend(sent)
        return sent


def abort(connection: pika.SelectConnection) -> None:
    """Drop the TCP connection without waiting for the broker; the close callback follows."""
    private: Any = connection
    private._terminate_stream(  # close() waits for an answer
        pika_errors.ConnectionClosedByClient(200, "the broker did not answer in time")
    )
