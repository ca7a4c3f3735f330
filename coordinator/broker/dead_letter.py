"""What is kept of a malformed message, for a person to read."""

from fanfold.schemas.names import DEAD_LETTER_KEY
from fanfold.transport import Delivery, Outgoing

DEAD_LETTER_BYTES = 64 << 10
"""What is kept of one; a person needs no more, and they wait in memory while the broker is full."""


def dead_letter_of(delivery: Delivery, reason: str, exchange: str) -> Outgoing:
    """Return what is published in its place, by the exchange that leads to the dead letters."""
    return Outgoing(
        exchange=exchange,
        routing_key=DEAD_LETTER_KEY,
        body=delivery.body[:DEAD_LETTER_BYTES],
        kind=delivery.kind,
        message_id=delivery.message_id,
        headers={
            "reason": reason[:1024],
            "sender": delivery.user_id or "unknown",
            "body_bytes": len(delivery.body),
        },
    )
