"""From deliveries to what participants say of themselves; reading them loads no torch."""

from schemas.chunks import Assembly, ChunkPlace
from schemas.errors import MalformedMessageError
from schemas.limits import Limits
from schemas.messages import Message
from transport import Delivery

EVENT_LIMITS = Limits(max_bytes=64 << 10)
"""Hello, progress and goodbye are small."""


def read_event(delivery: Delivery) -> Message:
    """Return the hello, progress or goodbye that a delivery holds.

    Raises:
        MalformedMessageError: if it holds none.
    """
    place = ChunkPlace.parse(
        kind=delivery.kind,
        headers=delivery.headers,
        body_length=len(delivery.body),
        limits=EVENT_LIMITS,
    )
    assembly = Assembly(place, EVENT_LIMITS)
    if not assembly.add(place, delivery.body):
        raise MalformedMessageError("an event that comes in several chunks")
    return assembly.decode().message
