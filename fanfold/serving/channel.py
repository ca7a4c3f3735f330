"""The service's side of the broker: the federation's own names, and what operators ask."""

from collections.abc import Iterable

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import Encoded, encode
from fanfold.schemas.names import REQUEST_KEY, FederationNames
from fanfold.schemas.run_messages import OpenRun, OpenRuns
from fanfold.transport import Connection, Delivery, Subscription, outgoing

OPERATIONS_LENGTH = 10_000
OPERATIONS: dict[str, object] = {
    "x-queue-type": "classic",
    "x-max-length": OPERATIONS_LENGTH,
    "x-overflow": "reject-publish",
}


class ServiceChannel:
    """Declares what the federation and its operators need. Belongs to the service's thread.

    Args:
        names: of the federation.
        consuming: holds the lock and receives.
        publishing: sends and declares.
        chunk_bytes: the largest body of a message.
    """

    def __init__(
        self,
        names: FederationNames,
        *,
        consuming: Connection,
        publishing: Connection,
        chunk_bytes: int,
    ) -> None:
        self._names = names
        self._consuming = consuming
        self._publishing = publishing
        self._chunk_bytes = chunk_bytes
        self._federation = CoordinatorChannel(
            names, consuming=consuming, publishing=publishing, administering=publishing
        )
        self._federation.holds_results = True  # no update comes to the federation itself
        self._requests: Subscription | None = None

    @property
    def logins(self) -> frozenset[str]:
        """The broker logins that the service itself may use."""
        return self._federation.logins

    @property
    def is_connected(self) -> bool:
        """Whether both connections are there now."""
        return self._federation.is_connected

    def is_receiving(self) -> bool:
        """Whether requests arrive at this moment; asked by any thread."""
        requests = self._requests
        return requests is not None and self._consuming.is_subscribed(requests)

    def take_lock(self) -> bool:
        """Take the federation's lock; False means that another service or coordinator has it."""
        return self._federation.take_lock()

    def open(self) -> None:
        """Declare everything, and begin to receive.

        Raises:
            TransportError: if the connection is lost, or the broker refuses.
        """
        self._federation.open(window=1)
        names, declare = self._names, self._publishing
        declare.declare_exchange(names.requests_exchange, "direct")
        declare.declare_exchange(names.answers_exchange, "direct")
        declare.declare_queue(
            names.operations_queue,
            arguments=OPERATIONS,
            bindings=[(names.requests_exchange, REQUEST_KEY)],
        )
        if self._requests is not None:
            self._consuming.unsubscribe(self._requests)
        self._requests = self._consuming.subscribe(
            names.operations_queue, prefetch=1, consumer_tag="service"
        )

    def is_request(self, delivery: Delivery) -> bool:
        """Whether a delivery is a request that arrived on the subscription of now."""
        return delivery.subscription is self._requests

    def is_event(self, delivery: Delivery) -> bool:
        """Whether a delivery is what a participant says of itself, and arrived likewise."""
        return self._federation.is_current(delivery.subscription)

    def is_lost(self, subscription: Subscription) -> bool:
        """Whether nothing comes any more on one of the subscriptions that should be there."""
        return subscription is self._requests or self._federation.is_current(subscription)

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge one delivery."""
        self._consuming.acknowledge(delivery)

    def answer(self, encoded: Encoded, key: str) -> None:
        """Answer an operator, who may have gone.

        Raises:
            TransportError: if it cannot be sent.
        """
        chunks = cut(encoded, chunk_bytes=self._chunk_bytes)
        exchange = self._names.answers_exchange
        self._publishing.publish(outgoing(chunks, exchange, key, mandatory=False))

    def tell(self, runs: Iterable[OpenRun], participant: str | None = None) -> None:
        """Tell a participant, or everybody, which runs are open.

        Raises:
            TransportError: if it cannot be sent.
        """
        chunks = cut(encode(OpenRuns(runs=tuple(runs))), chunk_bytes=self._chunk_bytes)
        if participant is None:
            self._federation.publish(chunks)
            return
        self._federation.participants.admit(participant, version_bytes=0)
        self._federation.resend((participant,), chunks)
