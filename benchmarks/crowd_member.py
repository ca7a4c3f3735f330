"""One of a thousand participants in one process: a connection and a queue of its own, no thread.

It says and hears what a real participant does, with the same receiver and the same pauses. Models
of one chunk only, and one connection instead of two.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from benchmarks.answers import NUM_EXAMPLES, Answers
from fanfold.participant.subscriber import SUBSCRIBES_AGAIN
from fanfold.participant.version import Version
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Goodbye, Hello, Message, Progress
from fanfold.schemas.names import EVENT_KEY, UPDATE_KEY, FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery, Subscription
from fanfold.transport.addresses import Address
from fanfold.transport.io.consumer import small_scalars
from fanfold.transport.io.reconnector import Reconnector, connection_properties

LIMITS = ReaderLimits(max_bytes=16 << 20)
ALIVE_SECONDS = 10.0
HEARTBEAT_SECONDS = 60
LONGEST_BACKOFF_SECONDS = 60.0


class CrowdMember:
    """Belongs to the thread of `loop`.

    Args:
        name: its id.
        names: of the federation.
        url: of the broker.
        loop: shared by all.
        answers: shared by all.
        changed: called when it begins or ceases to hear, with whether it does.
        finished: called when it has left.
    """

    def __init__(
        self,
        name: str,
        names: FederationNames,
        url: str,
        *,
        loop: IOLoop,
        answers: Answers,
        changed: Callable[[bool], None],
        finished: Callable[[], None],
    ) -> None:
        self._name = name
        self._names = names
        self._loop = loop
        self._answers = answers
        self._changed = changed
        self._receiver = VersionReceiver(LIMITS, self._acknowledge)
        self._subscription = Subscription(names.participant_queue(name), name, 1)
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._login = ""
        self._failures = 0
        self._is_consuming = False
        self._in_doubt: dict[int, Version | None] = {}
        """What is not confirmed yet, by delivery tag: the version that it answers, if any."""
        self._next_tag = 1
        address = Address.parse(url)
        self._reconnector = Reconnector(
            loop,
            lambda: [address],
            parameters_of=partial(
                Address.parameters,
                heartbeat_seconds=HEARTBEAT_SECONDS,
                client_properties=connection_properties(name),
                tls=None,
            ),
            connected=self._connected,
            disconnected=lambda _error: self._lost(),
            finished=lambda _error: finished(),
            max_backoff_seconds=LONGEST_BACKOFF_SECONDS,
        )

    def start(self) -> None:
        """Connect, and report from time to time from now on."""
        self._reconnector.connect()
        self._loop.call_later(ALIVE_SECONDS, self._report)

    def stop(self) -> None:
        """Say goodbye and leave."""
        if self._is_consuming:
            self._tell(Goodbye(participant=self._name, instance="crowd", reason="SIGTERM"))
        self._reconnector.stop()

    # -- connection and channel

    def _connected(self, connection: pika.SelectConnection, address: Address) -> None:
        self._connection, self._login, self._failures = connection, address.login, 0
        self._open_channel(connection)

    def _lost(self) -> None:
        self._connection = None
        self._channel_lost()

    def _channel_lost(self) -> None:
        self._channel = None
        self._in_doubt.clear()
        self._receiver.disconnected()
        if self._is_consuming:
            self._is_consuming = False
            self._changed(False)

    def _open_channel(self, connection: pika.SelectConnection) -> None:
        if connection is self._connection and connection.is_open:
            channel = connection.channel(on_open_callback=self._opened)
            channel.add_on_close_callback(self._closed)

    def _opened(self, channel: Channel) -> None:
        self._channel, self._next_tag = channel, 1
        channel.confirm_delivery(self._confirmed)
        channel.basic_qos(prefetch_count=1)
        if self._failures:
            self._hello()  # makes the coordinator put the queue there
        channel.basic_consume(
            self._subscription.queue,
            self._take,
            exclusive=True,
            consumer_tag=self._name,
            callback=lambda _: self._subscribed(),
        )

    def _subscribed(self) -> None:
        self._failures, self._is_consuming = 0, True
        self._changed(True)
        self._hello()
        held = self._receiver.held
        if held is not None and self._is_answer_lost():  # the version may not come again
            self._answer(held)

    def _closed(self, channel: Channel, _reason: Exception) -> None:
        """Come back after a pause: the queue is not there yet, or the exchange is not."""
        if channel is self._channel and self._connection is not None:
            self._channel_lost()
            self._failures += 1
            pause = SUBSCRIBES_AGAIN.seconds(self._failures)
            self._loop.call_later(pause, partial(self._open_channel, self._connection))

    # -- messages

    def _take(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        self._receiver.take(
            Delivery(
                subscription=self._subscription,
                tag=method.delivery_tag,
                redelivered=method.redelivered,
                kind=properties.type,
                message_id=properties.message_id,
                user_id=properties.user_id,
                headers=small_scalars(properties.headers),
                body=body,
            )
        )
        version = self._receiver.start()
        if version is None and (self._receiver.was_sent_again() or self._is_answer_lost()):
            version = self._receiver.held
        if version is not None:
            self._answer(version)

    def _answer(self, version: Version) -> None:
        (chunk,) = cut(self._answers.to(version, self._name))
        self._publish(UPDATE_KEY, chunk.kind, chunk.headers, bytes(chunk.body), version)

    def _is_answer_lost(self) -> bool:
        """Whether the connection was lost between an answer and its confirm."""
        held = self._receiver.held
        is_answered = held is None or held.assembly is None
        return not is_answered and all(each is not held for each in self._in_doubt.values())

    def _confirmed(self, frame: Any) -> None:
        assert not isinstance(frame.method, Basic.Nack)  # the queues are as large as the disk
        last = frame.method.delivery_tag
        tags = [tag for tag in self._in_doubt if tag <= last] if frame.method.multiple else [last]
        for tag in tags:
            version = self._in_doubt.pop(tag, None)
            if version is not None and version is self._receiver.held:
                self._receiver.answer()

    def _acknowledge(self, delivery: Delivery) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(delivery.tag)

    def _report(self) -> None:
        held = self._receiver.held
        if held is None or self._channel is None:
            self._hello()
        else:
            progress = Progress(
                participant=self._name,
                instance="crowd",
                run=held.run,
                version=held.number,
                phase="waiting" if held.assembly is None else "uploading",
                alive_seconds=ALIVE_SECONDS,
            )
            self._tell(progress)
        self._loop.call_later(ALIVE_SECONDS, self._report)

    def _hello(self) -> None:
        held = self._receiver.held
        hello = Hello(
            participant=self._name,
            instance="crowd",
            version=None if held is None else held.number,
            num_examples=NUM_EXAMPLES,
            consuming=self._is_consuming,
            alive_seconds=ALIVE_SECONDS,
        )
        self._tell(hello)

    def _tell(self, event: Message) -> None:
        (chunk,) = cut(encode(event))
        self._publish(EVENT_KEY, chunk.kind, chunk.headers, bytes(chunk.body), None)

    def _publish(
        self, key: str, kind: str, headers: Any, body: bytes, version: Version | None
    ) -> None:
        if self._channel is None or not self._channel.is_open:
            return
        self._in_doubt[self._next_tag] = version
        self._next_tag += 1
        properties = BasicProperties(
            content_type="application/x-fanfold",
            delivery_mode=2,
            app_id="fanfold",
            type=kind,
            user_id=self._login,
            headers=dict(headers),
        )
        self._channel.basic_publish(self._names.reports_exchange, key, body, properties)
