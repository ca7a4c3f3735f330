"""How messages travel: the one room that knows pika."""

from fanfold.transport.addresses import Address, Tls, is_loopback, safe_url
from fanfold.transport.backoff import Backoff
from fanfold.transport.connection import Connection
from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.event_reader import EventReader, StoppedError
from fanfold.transport.events import (
    Bindings,
    Blocked,
    Connected,
    ConnectionId,
    Delivery,
    Disconnected,
    Ended,
    Event,
    Outgoing,
    QueueState,
    Stop,
    Subscription,
    SubscriptionLost,
    Unblocked,
    outgoing,
)
from fanfold.transport.pace import UNPACED, Pace, Paces
from fanfold.transport.service_connections import BrokerSettings, connection_of, tls_of
from fanfold.transport.tls import client_context, connection_tls

__all__ = [
    "UNPACED",
    "Address",
    "Backoff",
    "Bindings",
    "Blocked",
    "BrokerSettings",
    "Connected",
    "Connection",
    "ConnectionId",
    "Delivery",
    "Disconnected",
    "Ended",
    "Event",
    "EventBuffer",
    "EventReader",
    "Outgoing",
    "Pace",
    "Paces",
    "QueueState",
    "Stop",
    "StoppedError",
    "Subscription",
    "SubscriptionLost",
    "Tls",
    "Unblocked",
    "client_context",
    "connection_of",
    "connection_tls",
    "is_loopback",
    "outgoing",
    "safe_url",
    "tls_of",
]
