"""What goes into a `Connection` and what comes out of it: plain values, no pika."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fanfold.schemas.chunking import Chunk


@dataclass(frozen=True, eq=False, slots=True)
class ConnectionId:
    """Which `Connection` an event is about: equal to the `id` of that one alone.

    Attributes:
        name: what the management UI calls the connection.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish; persistent, and signed with the login of the connection it goes out on.

    Attributes:
        exchange: where to; the empty name is the default exchange (routing key = queue).
        routing_key: the key a direct exchange goes by.
        body: at most what the broker accepts in one message (16 MiB since RabbitMQ 4).
        kind: the AMQP property `type`.
        message_id: the same one when the message is published again, so that readers know it.
        headers: small scalars for people and for the reader.
        mandatory: whether it is an error when no queue gets it.
    """

    exchange: str
    routing_key: str
    body: bytes | memoryview = field(repr=False)
    kind: str
    message_id: str
    headers: Mapping[str, str | int] = field(default_factory=dict)
    mandatory: bool = True


def outgoing(
    chunks: Iterable[Chunk], exchange: str, routing_key: str, *, mandatory: bool = True
) -> Iterator[Outgoing]:
    """Yield chunks of a message as what is published, one by one.

    Args:
        chunks: in the order in which they are to be sent.
        exchange: as in `Outgoing`, likewise the rest.
        routing_key: the same for all.
        mandatory: the same for all.
    """
    for chunk in chunks:
        yield Outgoing(
            exchange=exchange,
            routing_key=routing_key,
            body=chunk.body,
            kind=chunk.kind,
            message_id=chunk.message_id,
            headers=chunk.headers,
            mandatory=mandatory,
        )


@dataclass(eq=False, slots=True, weakref_slot=True)
class Subscription:
    """One consumer on one channel; it ends with either, and a new one is another object.

    Attributes:
        queue: the queue that is read.
        consumer_tag: what the management UI calls this consumer.
        prefetch: how many deliveries may be unacknowledged at a time.
    """

    queue: str
    consumer_tag: str
    prefetch: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that arrived; it belongs to us until acknowledged or until its subscription ends.

    Attributes:
        subscription: where it came from, and where its acknowledgement goes.
        tag: the broker's number for it, good on that subscription only.
        redelivered: whether the broker handed it out before; proves nothing, peeking sets it too.
        kind: the AMQP property `type`, empty if missing.
        message_id: empty if missing.
        user_id: the sender's login, checked by the broker; None if the sender left it out.
        headers: the small scalars among those received, nothing else checked.
        body: the bytes.
    """

    subscription: Subscription
    tag: int
    redelivered: bool
    kind: str
    message_id: str
    user_id: str | None
    headers: Mapping[str, object]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the broker says about a queue when it is declared."""

    name: str
    num_ready: int
    num_consumers: int


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a connection to a broker. Nothing is declared or subscribed on it yet."""

    connection: ConnectionId


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost, all subscriptions with it; `Connection` tries to get another one."""

    connection: ConnectionId
    reason: str


@dataclass(frozen=True, slots=True)
class SubscriptionLost:
    """The broker ended one subscription: queue deleted (404), acknowledgement too late (406)."""

    subscription: Subscription
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """The broker is short of memory or disk and takes no messages; publishing waits."""

    connection: ConnectionId
    reason: str


@dataclass(frozen=True, slots=True)
class Unblocked:
    """The broker takes messages again."""

    connection: ConnectionId


@dataclass(frozen=True, slots=True)
class Ended:
    """It will never connect again, and nobody closed it: the login was refused, or it is a bug."""

    connection: ConnectionId
    error: Exception


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody wants the service to end in good order; any thread may put it into the buffer."""

    reason: str


ENVELOPE_BYTES = 1024
"""What a message takes in memory besides its body: pika's objects and ours."""


def weight(delivery: Delivery) -> int:
    """Return how many bytes a delivery takes in memory, about."""
    texts = sum(
        len(name) + (len(value) if isinstance(value, str) else 0)
        for name, value in delivery.headers.items()
    )
    return len(delivery.body) + texts + ENVELOPE_BYTES


Event: TypeAlias = (
    Connected | Disconnected | SubscriptionLost | Blocked | Unblocked | Ended | Stop | Delivery
)
