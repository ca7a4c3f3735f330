"""Publishing with confirms, through lost connections."""

import re
from itertools import takewhile
from typing import Any

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from fanfold.schemas.errors import (
    PRECONDITION_FAILED,
    MessageTooLargeError,
    QueueFullError,
    UnroutableError,
)
from fanfold.transport.errors import UNSENDABLE, translate
from fanfold.transport.events import Outgoing
from fanfold.transport.io.publish_batch import PublishBatch

_CONTENT_TYPE = "application/x-fanfold"
_APP_ID = "fanfold"
_TRANSIENT, _PERSISTENT = 1, 2
_OTHERS = "BCC"
"""A header with more routing keys, RabbitMQ's own, which it takes off the message."""


class ConfirmingPublisher:
    """Sends one batch at a time on a channel of its own. I/O thread only.

    What a lost connection leaves in doubt goes to the front of the line and is sent again on the
    next one, in the same order and with the same message ids: duplicates happen, gaps do not. A
    failed batch takes its channel along, so nothing it left in doubt meets the next batch.
    """

    def __init__(self) -> None:
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._confirming = False
        self._login = ""
        self._batch: PublishBatch | None = None
        self._in_doubt: dict[int, Outgoing] = {}  # by delivery tag, in the order of sending
        self._next_tag = 1
        self.blocked = False

    def begin(self, batch: PublishBatch) -> None:
        """Send this batch from now on."""
        self._batch = batch
        self.send()

    def drop(self, batch: PublishBatch) -> None:
        """Forget a batch that was given up; what it left in doubt takes its channel along."""
        if self._batch is batch:
            self._batch = None
            if self._in_doubt or batch.to_send:
                self._drop_channel()

    def connected(self, connection: pika.SelectConnection, login: str) -> None:
        """Use this connection, and sign with this login, from now on."""
        self._connection, self._login, self.blocked = connection, login, False
        self.send()

    def disconnected(self, refusal: Exception | None) -> None:
        """Take back what is in doubt; fail if the connection was ended over what we sent."""
        self._connection = self._channel = None
        self._confirming = self.blocked = False
        if refusal is not None and self._in_doubt:
            self._fail(refusal)
        elif self._batch is not None:
            self._batch.to_send.extendleft(reversed(self._in_doubt.values()))
        self._in_doubt.clear()

    def send(self) -> None:
        """Send what the batch holds, if the broker takes it now."""
        connection = self._connection
        if self._batch is None or not self._batch.to_send:
            return
        if self.blocked or connection is None or not connection.is_open:
            return
        if self._channel is None:
            self._open_channel(connection)
        channel = self._channel
        if channel is None or not self._confirming:
            return
        while self._batch is not None and self._batch.to_send:
            self._publish(channel, self._batch.to_send.popleft())

    def _publish(self, channel: Channel, message: Outgoing) -> None:
        properties = BasicProperties(
            content_type=_CONTENT_TYPE,
            delivery_mode=_PERSISTENT if message.persistent else _TRANSIENT,
            app_id=_APP_ID,
            type=message.kind,
            message_id=message.message_id,
            user_id=self._login,
            headers={**message.headers, **({_OTHERS: [*message.others]} if message.others else {})},
        )
        self._in_doubt[self._next_tag] = message
        self._next_tag += 1
        try:
            channel.basic_publish(
                message.exchange,
                message.routing_key,
                bytes(message.body),  # pika takes nothing else; free for what is bytes already
                properties,
                mandatory=message.mandatory,
            )
        except UNSENDABLE as error:
            self._fail(translate(error))

    def _open_channel(self, connection: pika.SelectConnection) -> None:
        self._next_tag = 1
        try:
            self._channel = connection.channel(on_open_callback=self._on_open)
        except UNSENDABLE as error:
            self._fail(translate(error))
            return
        self._channel.add_on_close_callback(self._on_channel_closed)
        self._channel.add_on_return_callback(self._on_return)

    def _on_open(self, channel: Channel) -> None:
        channel.confirm_delivery(
            lambda frame: self._on_confirm(channel, frame),
            callback=lambda _: self._on_confirming(channel),
        )

    def _on_confirming(self, channel: Channel) -> None:
        if channel is self._channel:
            self._confirming = True
            self.send()

    def _on_confirm(self, channel: Channel, frame: Any) -> None:
        if channel is not self._channel:
            return  # one that we dropped: its tags are not those of the next
        last = frame.method.delivery_tag
        # Tags are in order, so what one frame confirms stands at the front.
        tags = [*takewhile(last.__ge__, self._in_doubt)] if frame.method.multiple else [last]
        for each in tags:
            message = self._in_doubt.pop(each, None)
            if message is None or self._batch is None:
                continue  # of a batch that was given up
            if isinstance(frame.method, Basic.Nack):
                where = _route(message.exchange, message.routing_key)
                self._fail(QueueFullError(f"the queue behind {where} takes no more"))
                return
            self._batch.confirmed(message)

    def _on_return(self, channel: Channel, method: Any, properties: Any, _body: bytes) -> None:
        if channel is self._channel:
            where = _route(method.exchange, method.routing_key)
            self._fail(UnroutableError(f"no queue takes {properties.message_id} from {where}"))

    def _on_channel_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel:
            return  # one that we dropped ourselves
        if isinstance(reason, ChannelClosedByBroker):
            self._fail(self._too_large(reason) or translate(reason))
        # Otherwise the connection goes, and `disconnected` takes back what is in doubt.

    def _too_large(self, reason: ChannelClosedByBroker) -> MessageTooLargeError | None:
        """Return the error of a message over the broker's limit, which its reply tells in bytes."""
        numbers = set(re.findall(r"\d+", reason.reply_text))
        sizes = [len(message.body) for message in self._in_doubt.values()]
        named = [size for size in sizes if str(size) in numbers]
        if reason.reply_code != PRECONDITION_FAILED or not named:
            return None
        return MessageTooLargeError(reason.reply_code, reason.reply_text, max(named))

    def _fail(self, error: Exception) -> None:
        batch, self._batch = self._batch, None
        self._drop_channel()
        if batch is not None:
            batch.fail(error)

    def _drop_channel(self) -> None:
        channel, self._channel = self._channel, None
        self._in_doubt.clear()
        self._confirming = False
        if channel is not None and not channel.is_closed and not channel.is_closing:
            channel.close()


def _route(exchange: str, routing_key: str) -> str:
    return f"{exchange or 'the default exchange'} with key {routing_key!r}"
