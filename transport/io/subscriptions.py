"""All subscriptions of a connection, and the acknowledgements waiting to be sent."""

import logging
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from weakref import WeakSet

import pika

from fanfold.schemas.errors import ConnectionLostError
from fanfold.transport.errors import UNSENDABLE, translate
from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.events import Delivery, Subscription, SubscriptionLost
from fanfold.transport.io.consumer import Consumer
from fanfold.transport.io.io_thread import IOThread

_logger = logging.getLogger(__name__)


class Subscriptions:
    """Starts and stops consumers, and passes acknowledgements to the consumer they belong to.

    `subscribe`, `widen`, `unsubscribe` and `acknowledge` may be called from any thread but the I/O
    thread; everything else is called by that one.

    Args:
        io: the I/O thread.
        event_buffer: receives deliveries.
        name: the connection's name, for warnings.
        patience_seconds: how long the I/O thread may wait for space in the event buffer before it
            runs its timers, the heartbeats among them.
    """

    def __init__(
        self, io: IOThread, event_buffer: EventBuffer, *, name: str, patience_seconds: float
    ) -> None:
        self._io = io
        self._event_buffer = event_buffer
        self._name = name
        self._patience_seconds = patience_seconds
        self._connection: pika.SelectConnection | None = None
        self._subscriptions: dict[Subscription, Consumer] = {}
        self._turn_ends: float | None = None
        self._acknowledgements: deque[tuple[Subscription, int, bool]] = deque()
        self._acknowledging = False
        self._warned: WeakSet[Subscription] = WeakSet()

    def subscribe(
        self, subscription: Subscription, patience_seconds: float, *, exclusive: bool
    ) -> Subscription:
        """Start a consumer; see `Connection.subscribe`."""
        started: Future[Subscription] = Future()
        start = partial(self._start, subscription, exclusive, started)
        return self._io.ask(start, started, patience_seconds)

    def widen(
        self, subscription: Subscription, prefetch: int, patience_seconds: float
    ) -> Subscription:
        """Raise the prefetch of a consumer; see `Connection.widen`."""
        widened: Future[Subscription] = Future()
        widen = partial(self._widen, subscription, prefetch, widened)
        return self._io.ask(widen, widened, patience_seconds)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Close a consumer's channel and wait for that."""
        done: Future[None] = Future()
        self._io.ask(partial(self._close, subscription, done), done)

    def acknowledge(self, delivery: Delivery, *, multiple: bool) -> None:
        """Acknowledge a delivery soon; never blocks."""
        self._acknowledgements.append((delivery.subscription, delivery.tag, multiple))
        # One wake-up for many acknowledgements: `flush` clears the flag before it reads them.
        if not self._acknowledging and not self._io.ended:
            self._acknowledging = True
            self._io.post_unhurried(self.flush)

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription in self._subscriptions

    def connected(self, connection: pika.SelectConnection) -> None:
        """Use this connection from now on."""
        self._connection = connection

    def disconnected(self) -> None:
        """Forget all consumers: they ended with their connection."""
        self._connection = None
        self._subscriptions.clear()

    def cancel(self) -> None:
        """Take no more deliveries."""
        for consumer in self._subscriptions.values():
            consumer.cancel()

    def flush(self) -> None:
        """Send the acknowledgements that have gathered."""
        self._acknowledging = False
        while self._acknowledgements:
            subscription, tag, multiple = self._acknowledgements.popleft()
            consumer = self._subscriptions.get(subscription)
            if consumer is not None:
                consumer.acknowledge(tag, multiple=multiple)
            elif subscription not in self._warned:
                self._warned.add(subscription)
                _logger.warning(
                    "%s: too late to acknowledge on %s, the broker has taken its deliveries back",
                    self._name,
                    subscription.consumer_tag,
                )

    def _start(
        self, subscription: Subscription, exclusive: bool, started: "Future[Subscription]"
    ) -> None:
        if self._connection is None or not self._connection.is_open:
            started.set_exception(ConnectionLostError("there is no connection to the broker"))
            return
        started.add_done_callback(partial(self._forget_refused, subscription))
        try:
            self._subscriptions[subscription] = Consumer(
                self._connection,
                subscription,
                exclusive=exclusive,
                started=started,
                deliver=self._on_delivery,
                lost=self._on_lost,
            )
        except UNSENDABLE as error:
            started.set_exception(translate(error))

    def _forget_refused(self, subscription: Subscription, started: "Future[Subscription]") -> None:
        if started.exception() is not None:
            self._subscriptions.pop(subscription, None)

    def _widen(
        self, subscription: Subscription, prefetch: int, widened: "Future[Subscription]"
    ) -> None:
        consumer = self._subscriptions.get(subscription)
        if consumer is None:
            widened.set_exception(ConnectionLostError("the subscription has ended"))
            return
        self.flush()
        widened.add_done_callback(partial(self._forget_refused, subscription))
        consumer.widen(prefetch, widened)

    def _close(self, subscription: Subscription, done: "Future[None]") -> None:
        self.flush()
        consumer = self._subscriptions.pop(subscription, None)
        if consumer is None:
            done.set_result(None)
        else:
            consumer.close(done)

    def _on_delivery(self, delivery: Delivery) -> None:
        """Put a delivery into the buffer, which takes it at once if nothing is inside."""
        self._event_buffer.put(
            delivery,
            patience_seconds=self._patience_left() if self._event_buffer.num_bytes else 0.0,
            hurried=lambda: self._io.is_wanted,
        )

    def _patience_left(self) -> float:
        """Return how long to wait at most; all that one turn of the loop reads share one wait."""
        if self._turn_ends is None:
            self._turn_ends = time.monotonic() + self._patience_seconds
            self._io.loop.call_later(0, self._end_turn)
        return max(0.0, self._turn_ends - time.monotonic())

    def _end_turn(self) -> None:
        self._turn_ends = None

    def _on_lost(self, subscription: Subscription, code: int, text: str) -> None:
        if self._subscriptions.pop(subscription, None) is not None:
            self._event_buffer.put_event(SubscriptionLost(subscription, code, text))
