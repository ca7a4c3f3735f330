"""What goes into a `Connection` and what comes out of it: plain values, no pika."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fanfold.schemas.chunking import Chunk


@dataclass(frozen=True, eq=False, slots=True)
class ConnectionId:
    """Which `Connection` an event is about: equal to the `id` of that one alone.

    Attributes:
        name: the name of the connection in the management UI.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish; its `user_id` is the login of the connection that sends it.

    Attributes:
        exchange: the exchange; the empty name is the default one (routing key = queue).
        routing_key: the key by which a direct exchange routes.
        body: at most as many bytes as the broker accepts in one message (16 MiB since RabbitMQ 4).
        kind: the AMQP property `type`.
        message_id: the same one when the message is published again, so that readers know it.
        headers: small scalars for people and for the reader.
        mandatory: whether it is an error if it is routed to no queue.
        others: more keys by which it is routed, too. The broker takes them off the message.
        persistent: whether the broker writes it to its disk, and has it after a restart of its own.
    """

    exchange: str
    routing_key: str
    body: bytes | memoryview = field(repr=False)
    kind: str
    message_id: str
    headers: Mapping[str, str | int] = field(default_factory=dict)
    mandatory: bool = True
    others: Sequence[str] = ()
    persistent: bool = True


def unheard(_message: Outgoing) -> None:
    """Nobody wants to know of each message that it is confirmed."""


def outgoing(
    chunks: Iterable[Chunk],
    exchange: str,
    routing_key: str,
    *,
    mandatory: bool = True,
    others: Sequence[str] = (),
    persistent: bool = True,
) -> Iterator[Outgoing]:
    """Yield the messages to publish for the chunks of a message, one by one.

    Args:
        chunks: in the order in which they are to be sent.
        exchange: as in `Outgoing`, likewise the rest.
        routing_key: the same for all.
        mandatory: the same for all.
        others: the same for all.
        persistent: the same for all.
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
            others=others,
            persistent=persistent,
        )


@dataclass(eq=False, slots=True, weakref_slot=True)
class Subscription:
    """One consumer on one channel; it ends with either, and a new one is another object.

    Attributes:
        queue: the queue that is read.
        consumer_tag: the name of this consumer in the management UI.
        prefetch: how many deliveries may be unacknowledged at a time.
    """

    queue: str
    consumer_tag: str
    prefetch: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that arrived; unacknowledged until `acknowledge` or the end of its subscription.

    Attributes:
        subscription: the subscription that it came from, and that it is acknowledged on.
        tag: the broker's number for it, valid on that subscription only.
        redelivered: whether the broker delivered it before; reading it in the UI sets this, too.
        kind: the AMQP property `type`, empty if missing.
        message_id: empty if missing.
        user_id: whose login sent it, checked by the broker: `anna` for `anna` and `anna.2`; None if
            the sender left it out.
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


Bindings: TypeAlias = Sequence[tuple[str, str]]
"""Of a queue: pairs of exchange and routing key."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """The broker's answer when a queue is declared."""

    name: str
    num_ready: int
    num_consumers: int

    @property
    def is_abandoned(self) -> bool:
        """Whether nothing is in it, and nobody consumes it."""
        return not self.num_ready and not self.num_consumers


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
    """The connection has ended for good without being closed: the login is refused, or a bug."""

    connection: ConnectionId
    error: Exception


@dataclass(frozen=True, slots=True)
class Stop:
    """A request to end the service in good order; any thread may put it into the buffer."""

    reason: str


ENVELOPE_BYTES = 1024
"""What a message takes in memory besides its body: pika's objects and ours."""


def weight(delivery: Delivery) -> int:
    """Return about how many bytes of memory a delivery takes."""
    texts = sum(
        len(name) + (len(value) if isinstance(value, str) else 0)
        for name, value in delivery.headers.items()
    )
    return len(delivery.body) + texts + ENVELOPE_BYTES


Event: TypeAlias = (
    Connected | Disconnected | SubscriptionLost | Blocked | Unblocked | Ended | Stop | Delivery
)
