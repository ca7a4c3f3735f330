"""The participant's queue and exchange on the broker.

It reads one queue, writes to one exchange and declares nothing.
"""

from collections.abc import Callable, Iterable

from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunking import Chunk
from fanfold.schemas.errors import BrokerUnreachableError, QueueDownError, RefusedByBrokerError
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Message
from fanfold.schemas.names import EVENT_KEY, UPDATE_KEY, FederationNames
from fanfold.transport import (
    Connection,
    ConnectionId,
    Delivery,
    Outgoing,
    Subscription,
    outgoing,
)

NODE_IS_DOWN = "is down or inaccessible"
"""The text in a 404 with which the broker says that the queue's node is down."""


class ParticipantChannel:
    """Consumes this participant's queue on one connection and publishes on another.

    `publish_update` is called by the work thread, everything else by the service's thread.
    `give_up_update` ends a `publish_update` that waits for a broker that is gone.

    There are two connections because a blocked publisher would block its acknowledgements too.

    Args:
        names: of the federation's exchanges and queues.
        participant: the id.
        consuming: reads the participant's queue.
        publishing: sends updates and events.
        border: what all messages cross.
    """

    def __init__(
        self,
        names: FederationNames,
        participant: str,
        *,
        consuming: Connection,
        publishing: Connection,
        border: Border = IN_CLEAR,
    ) -> None:
        self.border = border
        self._exchange = names.reports_exchange
        self._queue = names.participant_queue(participant)
        self._participant = participant
        self._consuming = consuming
        self._publishing = publishing
        self._subscription: Subscription | None = None
        self._is_uploading = False

    @property
    def is_subscribed(self) -> bool:
        """Whether versions can arrive."""
        return self._subscription is not None

    def is_receiving(self) -> bool:
        """Whether versions arrive and updates can be sent at this moment; asked by any thread."""
        subscription = self._subscription
        return (
            self._publishing.connected
            and subscription is not None
            and self._consuming.is_subscribed(subscription)
        )

    def is_mine(self, connection: ConnectionId) -> bool:
        """Whether this is the connection that versions arrive on."""
        return connection is self._consuming.id

    def is_current(self, subscription: Subscription) -> bool:
        """Whether this is the subscription that versions arrive on now."""
        return subscription is self._subscription

    def subscribe(self, prefetch: int) -> None:
        """Consume the queue exclusively; if it is consumed already, change the prefetch.

        Args:
            prefetch: how many chunks may be unacknowledged.

        Raises:
            RefusedByBrokerError: 404 if there is no queue yet, 403 if another instance has it.
            QueueDownError: if it is on a broker node that is down.
            ConnectionLostError: if there is no connection.
        """
        subscription, self._subscription = self._subscription, None
        try:
            if subscription is not None:
                self._consuming.widen(subscription, prefetch)
            else:
                subscription = self._consuming.subscribe(
                    self._queue, prefetch=prefetch, exclusive=True, consumer_tag=self._participant
                )
            self._subscription = subscription
        except RefusedByBrokerError as refusal:
            if NODE_IS_DOWN in refusal.text:
                raise QueueDownError(self._queue) from None
            raise

    def lost(self) -> None:
        """Note that the subscription has ended."""
        self._subscription = None

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge a delivery."""
        self._consuming.acknowledge(delivery)

    def tell(self, event: Message, *, timeout_seconds: float, epoch: int | None = None) -> None:
        """Publish a hello, a progress report or a goodbye.

        `epoch` is the one of the version that a progress report names.

        During the upload of an update, which may take an hour, the event goes out on the connection
        that receives. If the broker accepts no messages, it would block that one, so then nothing
        is published.

        Raises:
            RefusedByBrokerError: 404 if there is no coordinator yet, who declares the exchange.
            UnroutableError: likewise.
            BrokerUnreachableError: if it is not confirmed in time, or the broker is blocked now.
        """
        connection = self._publishing
        if self._is_uploading:
            if connection.blocked:
                raise BrokerUnreachableError("the broker takes no messages now")
            connection = self._consuming
        chunks = self.border.seal(encode(event), epoch=epoch)
        messages = outgoing(chunks, self._exchange, EVENT_KEY)
        connection.publish(messages, timeout_seconds=timeout_seconds)

    @property
    def can_tell(self) -> bool:
        """Whether there is a connection to publish on."""
        return self._publishing.connected

    def give_up_update(self) -> None:
        """Make a `publish_update` that is under way raise `PublishCancelledError`."""
        self._publishing.cancel_publish()

    def publish_update(
        self, chunks: Iterable[Chunk], confirmed: Callable[[int], None] | None = None
    ) -> None:
        """Publish an update and wait, however long it takes, until the broker has it.

        Args:
            chunks: all of them, or those that it lacks.
            confirmed: called in this thread with the index of each chunk that it has now.

        Raises:
            PublishCancelledError: if `give_up_update` was called meanwhile.
            QueueFullError: if the results queue takes no more now.
            RefusedByBrokerError: if the exchange is gone.
            UnroutableError: if the results queue is gone.
        """

        def tell(message: Outgoing) -> None:
            if confirmed is not None:
                confirmed(int(message.headers["chunk"]))

        self._is_uploading = True
        try:
            messages = outgoing(chunks, self._exchange, UPDATE_KEY)
            self._publishing.publish(messages, confirmed=tell)
        finally:
            self._is_uploading = False
