"""A connection to the broker that any thread can use and that comes back when it is lost."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self

from fanfold.schemas.errors import InvalidInputError, PublishCancelledError
from fanfold.transport.addresses import Access, Address, Tls
from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.events import (
    Bindings,
    ConnectionId,
    Delivery,
    Outgoing,
    QueueState,
    Subscription,
    unheard,
)
from fanfold.transport.io import operations
from fanfold.transport.io.session import Session
from fanfold.transport.pace import UNPACED, Paces

DEFAULT_WINDOW_BYTES = 16 * 1024 * 1024


class Connection:
    """One AMQP connection, owned by one I/O thread.

    Threads: every public method may be called from any thread except the I/O thread, and touches no
    pika: it posts to the I/O thread, which owns connection, channels and timers, and runs no code
    of the caller but `access_anew`. Except `acknowledge`, they block until the broker has answered.

    What happens comes out of `event_buffer`, in order: deliveries, and the events in
    `fanfold.transport.events`. Once the broker is lost it connects again by itself, but declares
    and subscribes nothing: on `Connected` the caller does. Only `publish` lives through reconnects,
    by sending again what was not confirmed.

    Closing, in this order: stop consuming, let a running `publish` finish, send the last
    acknowledgements, close the channels, close the connection, end the thread.

    Example:
        >>> with Connection(["amqp://localhost"], name="example") as connection:
        ...     connection.wait_connected(10)
        ...     connection.declare_queue("letters")
        ...     connection.publish([Outgoing("", "letters", b"hello", "Letter", "letters/1")])

    Args:
        urls: brokers of one cluster, `amqp://` or `amqps://`; one of them is enough.
        name: what the management UI calls the connection.
        event_buffer: where deliveries and events go; connections may share one.
        client_properties: more that the management UI shows.
        heartbeat_seconds: a peer silent for so long is dead; a URL with `?heartbeat=` has its own.
        tls: for `amqps://`; None verifies with the system's CAs.
        access_anew: returns addresses and TLS as they are now, asked before connecting again.
        window_bytes: how much `publish` sends ahead of the broker's confirmations.
        max_backoff_seconds: the longest pause between attempts to connect.
        paces: how fast bytes may come and go; connections may share them.

    Raises:
        InvalidInputError: if a URL is not one, or there is none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        event_buffer: EventBuffer | None = None,
        client_properties: Mapping[str, str] | None = None,
        heartbeat_seconds: int = 60,
        tls: Tls | None = None,
        access_anew: Callable[[], Access] | None = None,
        window_bytes: int = DEFAULT_WINDOW_BYTES,
        max_backoff_seconds: float = 60.0,
        paces: Paces = UNPACED,
    ) -> None:
        if not urls:
            raise InvalidInputError("name a broker with --broker or FANFOLD_BROKER_URL")
        self.name = name
        self.id = ConnectionId(name)
        self.event_buffer = EventBuffer() if event_buffer is None else event_buffer
        self._tags = itertools.count(1)
        self._session = Session(
            self.id,
            Access(tuple(map(Address.parse, urls)), tls),
            access_anew=access_anew,
            event_buffer=self.event_buffer,
            heartbeat_seconds=heartbeat_seconds,
            client_properties=client_properties or {},
            window_bytes=window_bytes,
            max_backoff_seconds=max_backoff_seconds,
            paces=paces,
        )

    def __repr__(self) -> str:
        return f"<Connection {self.name!r} to {self.url_without_password}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session.connected

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages on this connection now; it still delivers."""
        return self._session.blocked

    @property
    def login(self) -> str:
        """The user name of the connection, or of the first URL before there was one."""
        return self._session.address.login

    @property
    def logins(self) -> frozenset[str]:
        """The user names of all URLs: one of them is that of the connection."""
        return frozenset(address.login for address in self._session.addresses)

    @property
    def heartbeat_seconds(self) -> int:
        """The longest heartbeat of any URL."""
        return max(self._session.heartbeats)

    @property
    def url_without_password(self) -> str:
        """The broker of the connection, or the first one before there was one."""
        return str(self._session.address)

    def start(self) -> None:
        """Start the I/O thread, which starts to connect."""
        self._session.start()

    def wait_connected(self, timeout_seconds: float) -> None:
        """Wait for a connection.

        Raises:
            LoginRefusedError: if the broker refuses login or vhost, after a few tries.
            InsecureBrokerError: if TLS with it cannot be trusted or spoken, after a few tries.
            BrokerUnreachableError: if there is none in time; it goes on trying.
            ConnectionClosedError: if `close` was called.
        """
        self._session.wait_connected(timeout_seconds)

    def declare_exchange(self, name: str, kind: Literal["fanout", "direct"]) -> None:
        """Make a durable exchange, or find it as it is described.

        Raises:
            RefusedByBrokerError: 406 if one of that name is of another kind, 403 without the right.
            ConnectionLostError: if there is no connection, or it is lost meanwhile.
        """
        self._session.operate(operations.exchange_declaration(name, kind))

    def declare_queue(
        self,
        name: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        exclusive: bool = False,
        bindings: Bindings = (),
    ) -> QueueState:
        """Make a queue, or find it as it is described. Durable, or exclusive to this connection.

        With `bindings`, pairs of exchange and routing key, it is bound too, in the same call. What
        the answer counts is from before that: who consumes or fills the queue later is not in it.

        Raises:
            RefusedByBrokerError: 406 if it exists with other arguments, 405 if another connection
                has it exclusively, 403 without the right.
            QueueDownError: if the queue lies on a node that is down; the connection goes with it.
            ConnectionLostError: if there is no connection, or it is lost meanwhile.
        """
        ask = operations.declaration(name, arguments or {}, exclusive=exclusive, bindings=bindings)
        state: QueueState = self._session.ask_queue(name, partial(self._session.operate, ask))
        return state

    def declare_queues(
        self,
        queues: Mapping[str, Bindings],
        *,
        arguments: Mapping[str, Any] | None = None,
    ) -> list[QueueState]:
        """Make many durable queues of the same kind, or find them, and bind them.

        One call for all: where there are a thousand, waiting for each by itself takes seconds. Each
        has one binding at least. Raises as `declare_queue` does, for one of them; then others may
        be there now.
        """
        ask = partial(self._session.operate, operations.declarations(queues, arguments or {}))
        states: list[QueueState] = self._session.ask_queue(next(iter(queues)), ask)
        return states

    def delete_queue(self, name: str) -> None:
        """Delete a queue and what is in it; a queue that does not exist is fine."""
        self._session.operate(operations.deletion(name))

    def bind_queue(self, queue: str, exchange: str, routing_key: str = "") -> None:
        """Let `queue` receive what `exchange` gets with `routing_key`.

        Raises:
            RefusedByBrokerError: 404 if either does not exist, 403 without the right.
            ConnectionLostError: if there is no connection, or it is lost meanwhile.
        """
        self._session.operate(operations.binding(queue, exchange, routing_key))

    def subscribe(
        self, queue: str, *, prefetch: int, exclusive: bool = False, consumer_tag: str = ""
    ) -> Subscription:
        """Consume `queue` into the event buffer, on a channel of its own.

        Args:
            queue: what to read.
            prefetch: how many deliveries may be unacknowledged at a time, at least 1.
            exclusive: refuse to share the queue with another consumer.
            consumer_tag: for the management UI; made up from the connection's name by default.

        Raises:
            RefusedByBrokerError: 404 no such queue, 403 no right or another consumer has it
                exclusively, 405 locked by another connection.
            QueueDownError: if the queue lies on a node that is down; the connection goes with it.
            ConnectionLostError: if there is no connection, or it is lost meanwhile.
        """
        tag = consumer_tag or f"{self.name}-{next(self._tags)}"
        subscription = Subscription(queue, tag, prefetch)
        subscribe = self._session.subscriptions.subscribe
        return self._session.ask_queue(queue, partial(subscribe, subscription, exclusive=exclusive))

    def widen(self, subscription: Subscription, prefetch: int) -> None:
        """Let more deliveries of a subscription come before one is acknowledged.

        What was delivered stays delivered, and does not come again; it takes no part of the new
        window. For a moment nobody consumes the queue.

        Args:
            subscription: one of this connection's.
            prefetch: how many deliveries may be unacknowledged from now on, at least 1.

        Raises:
            RefusedByBrokerError: as by `subscribe`; the subscription has ended.
            QueueDownError: likewise, and the connection goes with it.
            ConnectionLostError: if the subscription or its connection has ended.
        """
        widen = self._session.subscriptions.widen
        self._session.ask_queue(subscription.queue, partial(widen, subscription, prefetch))

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription: the broker takes back what is not acknowledged."""
        self._session.subscriptions.unsubscribe(subscription)

    def is_subscribed(self, subscription: Subscription) -> bool:
        """Whether deliveries of this subscription can still come."""
        return self.connected and subscription in self._session.subscriptions

    def publish(
        self,
        messages: Iterable[Outgoing],
        *,
        timeout_seconds: float | None = None,
        confirmed: Callable[[Outgoing], None] = unheard,
    ) -> None:
        """Publish and wait until the broker has confirmed every message.

        Messages are taken from the iterable as the window has room, so a long one need not be in
        memory. Calls from several threads go one after another, never mixed. `confirmed` is called
        in this thread. After an error other messages may have arrived, too; publish again, with the
        same ids, all that it was not called with.

        Raises:
            UnroutableError: a mandatory message found no queue.
            QueueFullError: a queue refuses more.
            RefusedByBrokerError: 404 no such exchange, 403 no right, 406 too large.
            BrokerUnreachableError: time is up; without a timeout it waits for as long as it takes.
            PublishCancelledError: `cancel_publish` was called.
            ConnectionClosedError: `close` was called.
        """
        self._session.turns.publish(messages, timeout_seconds, confirmed)

    def cancel_publish(self) -> None:
        """Make the `publish` that is under way, if there is one, raise `PublishCancelledError`."""
        self._session.turns.fail(PublishCancelledError(f"{self!r}: the publish was given up"))

    def acknowledge(self, delivery: Delivery, *, multiple: bool = False) -> None:
        """Acknowledge a delivery, or with `multiple` all before it on its subscription too.

        Never blocks. If the subscription has ended meanwhile the broker has taken the delivery
        back: then this does nothing but log one warning per subscription.
        """
        self._session.subscriptions.acknowledge(delivery, multiple=multiple)

    def close(self, drain_seconds: float = 5.0) -> None:
        """Close in good order, and within `drain_seconds` or a little more. Twice is fine."""
        self._session.close(drain_seconds)
