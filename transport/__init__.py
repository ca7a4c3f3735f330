"""How messages travel: the one room that knows pika."""

from transport.addresses import Address, is_loopback, safe_url
from transport.backoff import Backoff
from transport.events import (
    Blocked,
    Connected,
    Delivery,
    Disconnected,
    Ended,
    Event,
    Outgoing,
    QueueState,
    Subscription,
    SubscriptionLost,
    Unblocked,
)
from transport.inbox import Inbox
from transport.link import Link
from transport.tls import client_context, link_context

__all__ = [
    "Address",
    "Backoff",
    "Blocked",
    "Connected",
    "Delivery",
    "Disconnected",
    "Ended",
    "Event",
    "Inbox",
    "Link",
    "Outgoing",
    "QueueState",
    "Subscription",
    "SubscriptionLost",
    "Unblocked",
    "client_context",
    "is_loopback",
    "link_context",
    "safe_url",
]
