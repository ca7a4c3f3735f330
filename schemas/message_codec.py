"""A whole message as bytes, and back.

    magic "WRRN" | header length, uint32 | header, msgpack | zeros to a multiple of 64 | data region

All numbers are little endian. The data region holds the tensors in the order of the header's table,
each on a multiple of 64, zeros between. No torch here: tensors come and go as memoryviews, and
nothing is joined or copied. See `docs/protocol.md`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from fanfold.schemas import msgpack_header
from fanfold.schemas.errors import MalformedMessageError, UnsupportedProtocolError
from fanfold.schemas.message_kinds import MESSAGES
from fanfold.schemas.messages import PROTOCOL, Message
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_table import Kind, TensorEntry, aligned, check_table, read_table

__all__ = [
    "Decoded",
    "Encoded",
    "ReaderLimits",
    "TensorBytes",
    "TensorEntry",
    "decode",
    "encode",
    "encoded_bytes",
]

MAGIC = b"WRRN"
_PREFIX = struct.Struct("<4sI")
_UNLIMITED = ReaderLimits(max_bytes=2**63)
_FIELDS = {"protocol", "kind", "message", "tensors"}


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """A tensor's row before it has a place in the data region, with its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: Kind
    encoding: str
    data: memoryview
    """The bytes that travel, contiguous."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message ready to be cut. The buffers, one after another, are its bytes.

    They are views: whoever owns the tensors must not change them until the message is sent.
    """

    message: Message
    entries: tuple[TensorEntry, ...]
    num_bytes: int
    buffers: tuple[memoryview, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message that was read. `data` is the data region, a view of the buffer given."""

    message: Message
    entries: tuple[TensorEntry, ...]
    data: memoryview


def encode(message: Message, tensors: Sequence[TensorBytes] = ()) -> Encoded:
    """Return `message` and its tensors as buffers to be sent one after another.

    Raises:
        MalformedMessageError: if no reader would take the result, such as two tensors of one name.
    """
    entries: list[TensorEntry] = []
    buffers: list[memoryview] = []
    end = 0
    for tensor in tensors:
        data = tensor.data.cast("B")
        begin = aligned(end)
        buffers += [memoryview(bytes(begin - end)), data]
        end = begin + data.nbytes
        row = (tensor.name, tensor.dtype, tensor.shape, tensor.kind, tensor.encoding)
        entries.append(TensorEntry(*row, begin, end))
    head = _head(message, entries)
    filled = tuple(buffer for buffer in (memoryview(head), *buffers) if buffer.nbytes)
    return Encoded(message, tuple(entries), len(head) + end, filled)


def encoded_bytes(message: Message, entries: Sequence[TensorEntry]) -> int:
    """Return how many bytes `message` has with the tensors of this table.

    Raises:
        MalformedMessageError: as by `encode`.
    """
    return len(_head(message, entries)) + (entries[-1].end if entries else 0)


def _head(message: Message, entries: Sequence[TensorEntry]) -> bytes:
    """Return what stands before the data region."""
    check_table(entries, carried=message.TENSORS, limits=_UNLIMITED)
    header = msgpack_header.pack(
        {
            "protocol": PROTOCOL,
            "kind": message.KIND,
            "message": message.model_dump(),
            "tensors": [entry.row() for entry in entries],
        }
    )
    head = _PREFIX.pack(MAGIC, len(header)) + header
    return head.ljust(aligned(len(head)), b"\0")


def decode(whole: memoryview, *, kind: str, limits: ReaderLimits) -> Decoded:
    """Return the message that the bytes of `whole` are, without copying its tensors.

    Args:
        whole: exactly one message, contiguous.
        kind: what the sender said it is; a message of another kind is refused.
        limits: the reader's bounds.

    Raises:
        UnsupportedProtocolError: if it speaks another protocol number.
        MalformedMessageError: if it is not such a message, or is larger than the limits.
    """
    whole = whole.cast("B")
    if whole.nbytes > limits.max_bytes:
        raise MalformedMessageError(
            f"the message has {whole.nbytes} bytes, this reader takes {limits.max_bytes}"
        )
    header, data = _split(whole, limits)
    fields = msgpack_header.unpack(header, max_containers=2 * limits.max_tensors + 16)
    message = _read_message(fields, kind)
    entries = read_table(fields["tensors"], carried=message.TENSORS, limits=limits)
    _check_data(entries, data)
    return Decoded(message, entries, data)


def received(encoded: Encoded) -> Decoded:
    """Return one's own message as its receiver decodes it, in a buffer of its own.

    Raises:
        MalformedMessageError: if it is not a message that a receiver takes.
    """
    whole = memoryview(bytearray().join(encoded.buffers))
    return decode(whole, kind=encoded.message.KIND, limits=_UNLIMITED)


def _split(whole: memoryview, limits: ReaderLimits) -> tuple[memoryview, memoryview]:
    """Return the header document and the data region."""
    if whole.nbytes < _PREFIX.size:
        raise MalformedMessageError("the message ends before its header")
    magic, header_bytes = _PREFIX.unpack_from(whole)
    if magic != MAGIC:
        raise MalformedMessageError("the message does not begin with the letters WRRN")
    if header_bytes > limits.max_header_bytes:
        raise MalformedMessageError(
            f"the header has {header_bytes} bytes, this reader takes {limits.max_header_bytes}"
        )
    header_end = _PREFIX.size + header_bytes
    data_begin = aligned(header_end)
    if data_begin > whole.nbytes:
        raise MalformedMessageError("the message ends inside its header")
    _check_zeros(whole[header_end:data_begin])
    return whole[_PREFIX.size : header_end], whole[data_begin:]


def _read_message(fields: dict[str, object], kind: str) -> Message:
    protocol = fields.get("protocol")
    if type(protocol) is not int:
        raise MalformedMessageError("the header has no protocol number")
    if protocol != PROTOCOL:
        raise UnsupportedProtocolError(protocol, PROTOCOL)
    if fields.keys() != _FIELDS:
        raise MalformedMessageError("the header's keys are not protocol, kind, message, tensors")
    if kind not in MESSAGES:
        raise MalformedMessageError(f"unknown kind of message {kind[:64]!r}")
    if fields["kind"] != kind:
        raise MalformedMessageError(f"the header does not say {kind}, as was announced")
    try:
        return MESSAGES[kind].model_validate(fields["message"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:64]
        raise MalformedMessageError(f"{kind} field {field!r}: {first['msg']}") from error


def _check_data(entries: Sequence[TensorEntry], data: memoryview) -> None:
    """Check that the data region is what the table says: all of it, and zeros between."""
    end = 0
    for entry in entries:
        if entry.end > data.nbytes:
            raise MalformedMessageError(f"tensor {entry.name!r} lies outside the message")
        _check_zeros(data[end : entry.begin])
        end = entry.end
    if end != data.nbytes:
        raise MalformedMessageError(f"{data.nbytes - end} bytes follow the last tensor")


def _check_zeros(padding: memoryview) -> None:
    if any(padding):
        raise MalformedMessageError("the padding is not zero")
