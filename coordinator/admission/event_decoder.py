"""From deliveries to what participants say of themselves; reading them loads no torch."""

from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import Message
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery

EVENT_LIMITS = ReaderLimits(max_bytes=64 << 10)
"""Hello, progress and goodbye are small."""


def event_header(delivery: Delivery, border: Border = IN_CLEAR) -> ChunkHeader:
    """Return the header of an event that is one chunk.

    Raises:
        MalformedMessageError: if a delivery is none.
    """
    header = ChunkHeader.parse(
        kind=delivery.kind,
        headers=delivery.headers,
        body_length=len(delivery.body),
        limits=border.limits(EVENT_LIMITS),
    )
    if header.whole.count > 1:
        raise MalformedMessageError("an event that comes in several chunks")
    return header


def decode_event(header: ChunkHeader, body: bytes, border: Border = IN_CLEAR) -> Message:
    """Return the hello, progress or goodbye in a chunk that is believed.

    Raises:
        MalformedMessageError: if it holds none.
    """
    assembly = Assembly(header, EVENT_LIMITS)
    assembly.add(header, body)
    assembly.unseal(border.opener(header))
    return assembly.decode().message
