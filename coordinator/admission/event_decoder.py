"""From deliveries to what participants say of themselves; reading them loads no torch."""

from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import Message
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery

EVENT_LIMITS = ReaderLimits(max_bytes=64 << 10)
"""Hello, progress and goodbye are small."""


def read_event(delivery: Delivery) -> Message:
    """Return the hello, progress or goodbye that a delivery holds.

    Raises:
        MalformedMessageError: if it holds none.
    """
    header = ChunkHeader.parse(
        kind=delivery.kind,
        headers=delivery.headers,
        body_length=len(delivery.body),
        limits=EVENT_LIMITS,
    )
    assembly = Assembly(header, EVENT_LIMITS)
    if not assembly.add(header, delivery.body):
        raise MalformedMessageError("an event that comes in several chunks")
    return assembly.decode().message
