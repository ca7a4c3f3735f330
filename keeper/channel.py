"""A keeper's side of the broker: one queue that it reads, one exchange that it writes to."""

from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.names import MASKS_KEY, FederationNames
from fanfold.transport import Connection, ConnectionId, Delivery, Subscription, outgoing

PREFETCH = 64


class KeeperChannel:
    """Receives requests and publishes answers; declares nothing.

    Args:
        names: of the federation.
        keeper: name of the keeper.
        consuming: receives.
        publishing: sends.
        chunk_bytes: bytes in each chunk of an answer but the last.
    """

    def __init__(
        self,
        names: FederationNames,
        keeper: str,
        *,
        consuming: Connection,
        publishing: Connection,
        chunk_bytes: int,
    ) -> None:
        self._names = names
        self._queue = names.keeper_queue(keeper)
        self._consuming = consuming
        self._publishing = publishing
        self._chunk_bytes = chunk_bytes
        self._subscription: Subscription | None = None

    def subscribe(self) -> None:
        """Begin to receive, as the only one.

        Raises:
            RefusedByBrokerError: 404 while no coordinator made the queue, 403 if another has it.
            ConnectionLostError: if there is no connection.
        """
        if self._subscription is not None and self._consuming.is_subscribed(self._subscription):
            return
        self._subscription = self._consuming.subscribe(
            self._queue, prefetch=PREFETCH, exclusive=True, consumer_tag="keeper"
        )

    def is_current(self, subscription: Subscription) -> bool:
        """Whether this is the subscription that requests arrive on now."""
        return subscription is self._subscription

    def is_consuming(self, connection: ConnectionId) -> bool:
        """Whether this is the connection that receives."""
        return connection is self._consuming.id

    def is_receiving(self) -> bool:
        """Whether requests arrive at this moment; asked by any thread."""
        subscription = self._subscription
        return subscription is not None and self._consuming.is_subscribed(subscription)

    def publish(self, encoded: Encoded) -> None:
        """Send an answer, and wait until the broker has it.

        Raises:
            UnroutableError: if no coordinator made the queue of answers.
            QueueFullError: if it takes no more.
            ConnectionClosedError: if the connection has ended for good.
        """
        chunks = cut(encoded, chunk_bytes=self._chunk_bytes)
        self._publishing.publish(outgoing(chunks, self._names.reports_exchange, MASKS_KEY))

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge a part of a request."""
        self._consuming.acknowledge(delivery)
