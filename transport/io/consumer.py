"""One consumer and the channel it owns."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from fanfold.schemas.errors import NOT_FOUND, ConnectionLostError
from fanfold.schemas.names import owner_of
from fanfold.transport.errors import translate
from fanfold.transport.events import Delivery, Subscription

_MAX_PREFETCH = 65535  # the field has 16 bits

MAX_HEADERS, MAX_HEADER_CHARACTERS = 32, 1024
"""Most headers of a message that are kept, and characters of names and texts; ours have fewer."""


class Consumer:
    """Reads one queue for one subscription. I/O thread only.

    A channel belongs to one subscription and ends with it, so a delivery tag that reaches this
    object is always one of this channel's own.

    Args:
        connection: an open connection.
        subscription: identifies this consumer to callers.
        exclusive: whether the broker shall refuse any other consumer of the queue.
        started: resolved with the subscription, or with the broker's refusal.
        deliver: called with every delivery.
        lost: called with code and text when the broker ends a subscription that had started.
    """

    def __init__(
        self,
        connection: pika.SelectConnection,
        subscription: Subscription,
        *,
        exclusive: bool,
        started: "Future[Subscription]",
        deliver: Callable[[Delivery], None],
        lost: Callable[[Subscription, int, str], None],
    ) -> None:
        self._subscription = subscription
        self._exclusive = exclusive
        self._started = started
        self._deliver = deliver
        self._lost = lost
        self._cancelled = False
        self._tag = subscription.consumer_tag
        self._channel: Channel = connection.channel(on_open_callback=self._on_open)
        self._channel.add_on_close_callback(self._on_channel_closed)
        self._channel.add_on_cancel_callback(self._on_cancelled_by_broker)

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Acknowledge one delivery, or all up to it."""
        if self._channel.is_open:
            self._channel.basic_ack(tag, multiple)

    def widen(self, prefetch: int, widened: "Future[Subscription]") -> None:
        """Raise the number of unacknowledged deliveries to `prefetch`; those received stay valid.

        In AMQP the prefetch of a consumer cannot change. So this one is cancelled and another one
        started on the same channel with another tag: RabbitMQ counts by consumer, and deliveries to
        the first do not count for the second.
        """
        if self._cancelled or not self._channel.is_open or not self._started.done():
            widened.set_exception(ConnectionLostError("the subscription is ending"))
            return
        self._started = widened
        self._channel.basic_cancel(self._tag, callback=lambda _: None)
        self._subscription.prefetch = prefetch
        self._tag = f"{self._subscription.consumer_tag}, window {prefetch}"
        # What is still being sent to the first consumer returns to its place in the queue.
        self._channel.basic_qos(
            prefetch_count=min(prefetch, _MAX_PREFETCH), callback=lambda _: self._consume()
        )

    def cancel(self) -> None:
        """Take no more deliveries; those received can still be acknowledged."""
        if self._channel.is_open and not self._cancelled:
            self._cancelled = True
            self._channel.basic_cancel(self._tag, callback=lambda _: None)

    def close(self, done: "Future[None] | None" = None) -> None:
        """Close the channel: the broker takes back what is not acknowledged."""
        if self._channel.is_closed:
            if done:
                done.set_result(None)
            return
        if done:
            self._channel.add_on_close_callback(lambda *_: done.set_result(None))
        if not self._channel.is_closing:
            self._channel.close()

    def _on_open(self, channel: Channel) -> None:
        # pika sends the second when the first is answered.
        channel.basic_qos(prefetch_count=min(self._subscription.prefetch, _MAX_PREFETCH))
        self._consume()

    def _consume(self) -> None:
        if self._cancelled:  # cancelled meanwhile; the channel is closed soon
            return
        self._channel.basic_consume(
            self._subscription.queue,
            self._on_message,
            exclusive=self._exclusive,
            consumer_tag=self._tag,
            callback=lambda _: self._started.set_result(self._subscription),
        )

    def _on_message(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        self._deliver(
            Delivery(
                subscription=self._subscription,
                tag=method.delivery_tag,
                redelivered=method.redelivered,
                kind=_text(properties.type),
                message_id=_text(properties.message_id),
                user_id=owner_of(_text(properties.user_id)) or None,
                headers=small_scalars(properties.headers or {}),
                body=body,
            )
        )

    def _on_cancelled_by_broker(self, _frame: object) -> None:
        self._lost(self._subscription, NOT_FOUND, "the broker cancelled the consumer")
        self.close()

    def _on_channel_closed(self, _channel: Channel, reason: Exception) -> None:
        if not self._started.done():
            refused = isinstance(reason, ChannelClosedByBroker)
            self._started.set_exception(
                translate(reason) if refused else ConnectionLostError(str(translate(reason)))
            )
        elif isinstance(reason, ChannelClosedByBroker):
            self._lost(self._subscription, reason.reply_code, reason.reply_text)


def small_scalars(headers: Mapping[Any, Any]) -> dict[str, str | int]:
    """Return the headers worth keeping while a delivery waits.

    A frame of 128 KiB can hold a hundred thousand headers, and a list of empty values takes ten
    times its length in memory.
    """
    kept: dict[str, str | int] = {}
    for name, value in headers.items():
        if len(kept) == MAX_HEADERS:
            break
        is_small = isinstance(value, int) or (
            isinstance(value, str) and len(value) <= MAX_HEADER_CHARACTERS
        )
        if is_small and isinstance(name, str):
            kept[name] = value
    return kept


def _text(value: Any) -> str:
    """Return a property that should be text; an empty one if it is not UTF-8."""
    return value if isinstance(value, str) else ""
