"""The coordinator's side of the broker.

The lock that only one can hold, the queues, and what is sent out.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from fanfold.coordinator.broker import queue_arguments
from fanfold.coordinator.broker.dead_letter import dead_letter_of
from fanfold.coordinator.broker.participant_queues import ParticipantQueues
from fanfold.coordinator.broker.queue_maker import QueueMaker
from fanfold.coordinator.broker.uptime import BrokerUptime
from fanfold.schemas.chunking import Chunk
from fanfold.schemas.errors import NOT_FOUND, RESOURCE_LOCKED, RefusedByBrokerError, UnroutableError
from fanfold.schemas.names import (
    DEAD_LETTER_KEY,
    EVENT_KEY,
    MASKS_KEY,
    OUTCOME_KEY,
    UPDATE_KEY,
    FederationNames,
    keeper_key,
)
from fanfold.sealing.identity import PublicIdentity
from fanfold.transport import (
    Connection,
    ConnectionId,
    Delivery,
    Outgoing,
    Subscription,
    outgoing,
)

EVENTS_WINDOW = 256
log = structlog.get_logger()


class CoordinatorChannel:
    """Declares what the federation needs, publishes versions, and receives reports.

    Every method waits for the broker's answer. `publish`, `resend` and what `dead_letter` returns
    are called in the publisher's thread, for they may wait for hours; everything else in the work
    thread.
    """

    def __init__(
        self,
        names: FederationNames,
        *,
        consuming: Connection,
        publishing: Connection,
        administering: Connection,
        shared_queues: str = "classic",
        results_bytes: int | None = None,
        keepers: Sequence[PublicIdentity] = (),
    ) -> None:
        """Use three connections.

        A blocked publisher would block its acknowledgements too. And the broker's answer to a
        declaration would stand behind all updates that are on their way on the same connection,
        which nobody takes while we wait for the answer.

        Args:
            names: of the federation's exchanges and queues.
            consuming: holds the lock and receives.
            publishing: sends.
            administering: declares.
            shared_queues: type of the queues that all participants share.
            results_bytes: disk budget of the results queue; participants back off when it is used
                up.
            keepers: of masks, in their order.
        """
        self.keepers = tuple(keepers)
        self.holds_results = False
        """Whether updates stay at the broker, because the set of the round is closed."""
        self._names = names
        self._consuming = consuming
        self._publishing = publishing
        self._administering = administering
        self._queues = QueueMaker(administering)
        self._shared: dict[str, object] = {"x-queue-type": shared_queues}
        self.keeps_versions = shared_queues == "quorum"
        """Whether versions are persistent: a node of a cluster may restart, and nobody is told."""
        if self.keeps_versions:
            # Looking at a quorum queue in the management UI counts as a failed delivery, and 4.x
            # throws a message away after twenty of them.
            self._shared["x-delivery-limit"] = 1_000_000
        self._budget = {"x-max-length-bytes": results_bytes} if results_bytes else {}
        self._subscriptions: list[Subscription] = []
        self.participants = ParticipantQueues(names, self._queues)
        self.uptime = BrokerUptime(
            names, self._queues, publishing=publishing, is_cluster=self.keeps_versions
        )
        self.window = 0
        """How many chunks of updates may be unacknowledged, once receiving has begun."""

    @property
    def logins(self) -> frozenset[str]:
        """The broker logins that the coordinator itself may use."""
        return self._consuming.logins

    def take_lock(self) -> bool:
        """Take the lock that only the living coordinator holds.

        False means that another one holds it.
        """
        try:
            self._consuming.declare_queue(
                self._names.coordinator_queue, arguments={"x-queue-type": "classic"}, exclusive=True
            )
        except RefusedByBrokerError as refusal:
            if refusal.code in (RESOURCE_LOCKED, NOT_FOUND):  # 404: it lay on a node that is down
                return False
            raise
        return True

    def open(self, *, window: int) -> None:
        """Declare exchanges and queues, and begin to receive.

        Args:
            window: how many chunks of updates may be unacknowledged.
        """
        names, self.window = self._names, window
        while self._subscriptions:
            self._consuming.unsubscribe(self._subscriptions.pop())
        self.declare()
        if not self.holds_results:
            self._subscribe(names.results_queue, window)
        self._subscribe(names.events_queue, EVENTS_WINDOW)
        if self.keepers:
            self._subscribe(names.masks_queue, EVENTS_WINDOW)

    def _subscribe(self, queue: str, prefetch: int) -> None:
        self._subscriptions.append(
            self._consuming.subscribe(queue, prefetch=prefetch, consumer_tag="coordinator")
        )

    def hold_results(self) -> None:
        """Leave updates at the broker from now on; those not acknowledged go back there."""
        self.holds_results = True
        for each in [each for each in self._subscriptions if self._is_of_results(each)]:
            self._subscriptions.remove(each)
            self._consuming.unsubscribe(each)

    def take_results(self) -> None:
        """Receive updates again.

        Raises:
            TransportError: if it was broken off; `open` does it, too.
        """
        if self.holds_results:
            self.holds_results = False
            self._subscribe(self._names.results_queue, self.window)

    def declare(self) -> None:
        """Make sure that exchanges and queues are there, and bound; what is there stays."""
        names, connection = self._names, self._administering
        connection.declare_exchange(names.parameters_exchange, "fanout")
        connection.declare_exchange(names.resend_exchange, "direct")
        connection.declare_exchange(names.reports_exchange, "direct")
        self._queues.declare(
            names.results_queue, {**self._shared, **self._budget, "x-overflow": "reject-publish"}
        )
        self._queues.declare(names.events_queue, {**self._shared, **queue_arguments.EVENTS})
        self._declare_dead_letters()
        connection.bind_queue(names.results_queue, names.reports_exchange, UPDATE_KEY)
        connection.bind_queue(names.events_queue, names.reports_exchange, EVENT_KEY)
        if self.keepers:
            self._queues.declare(names.masks_queue, {**self._shared, **queue_arguments.MASKS})
            connection.bind_queue(names.masks_queue, names.reports_exchange, MASKS_KEY)
        for keeper in self.keepers:
            queue = names.keeper_queue(keeper.name)
            self._queues.declare(queue, {**self._shared, **queue_arguments.REQUESTS})
            connection.bind_queue(queue, names.resend_exchange, keeper_key(keeper.name))

    def is_result(self, delivery: Delivery) -> bool:
        """Whether a delivery came through the results queue."""
        return self._is_of_results(delivery.subscription)

    def is_masks(self, delivery: Delivery) -> bool:
        """Whether a delivery is a keeper's answer."""
        return delivery.subscription.queue == self._names.masks_queue

    def _is_of_results(self, subscription: Subscription) -> bool:
        return subscription.queue == self._names.results_queue

    def is_receiving(self) -> bool:
        """Whether reports arrive and versions can be sent at this moment; asked by any thread."""
        return (
            self._publishing.connected
            and bool(self._subscriptions)
            and all(self._consuming.is_subscribed(each) for each in tuple(self._subscriptions))
        )

    def is_current(self, subscription: Subscription) -> bool:
        """Whether this is one of the two subscriptions that reports arrive on now."""
        return subscription in self._subscriptions

    def holds_lock(self, connection: ConnectionId) -> bool:
        """Whether this is the connection that holds the lock and receives."""
        return connection is self._consuming.id

    def publishes_on(self, connection: ConnectionId) -> bool:
        """Whether this is the connection that versions go out on."""
        return connection is self._publishing.id

    @property
    def is_connected(self) -> bool:
        """Whether all links have a connection now."""
        return all(
            connection.connected
            for connection in (self._consuming, self._publishing, self._administering)
        )

    def publish(self, chunks: Sequence[Chunk], *, persistent: bool = True) -> None:
        """Send a message to everybody; nobody being there yet is no mistake.

        Args:
            chunks: of the message.
            persistent: False where it can be sent again after a restart of the broker, which
                `uptime` tells.
        """
        self._publishing.publish(
            outgoing(
                chunks,
                self._names.parameters_exchange,
                "",
                mandatory=False,
                persistent=persistent,
            )
        )

    def resend(
        self, to: tuple[str, ...], chunks: Sequence[Chunk], *, persistent: bool = True
    ) -> None:
        """Send a message to one participant or to some, at once; `persistent` as in `publish`.

        Raises:
            UnroutableError: if the queue of a single one is gone; it will say hello.
        """
        first, *others = to
        self._publishing.publish(
            outgoing(
                chunks,
                self._names.resend_exchange,
                first,
                mandatory=not others,
                others=others,
                persistent=persistent,
            )
        )

    def keep_outcome(self, chunks: Sequence[Chunk]) -> None:
        """Keep for onlookers how the run ended, in a queue with room for one such message."""
        queue, key = self._names.outcome_queue, (self._names.resend_exchange, OUTCOME_KEY)
        self._publishing.declare_queue(
            queue, arguments={**self._shared, **queue_arguments.ONE_MESSAGE}, bindings=[key]
        )
        self._publishing.publish(outgoing(chunks, *key))

    def forget_outcome(self) -> None:
        """Remove how an earlier run ended: this one goes on."""
        self._administering.delete_queue(self._names.outcome_queue)

    def dead_letter(self, delivery: Delivery, reason: str) -> Callable[[], None]:
        """Return how to keep a malformed message for a person.

        What is returned holds no more of a large body than is kept of it.
        """
        letter = dead_letter_of(delivery, reason, self._names.resend_exchange)
        return partial(self._keep, letter)

    def _keep(self, letter: Outgoing) -> None:
        try:
            self._publishing.publish([letter])
        except UnroutableError:  # somebody deleted the queue
            self._declare_dead_letters()
            self._publishing.publish([letter])

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge one delivery."""
        self._consuming.acknowledge(delivery)

    def acknowledge_up_to(self, delivery: Delivery) -> None:
        """Acknowledge a delivery and all before it from the same queue."""
        self._consuming.acknowledge(delivery, multiple=True)

    def _declare_dead_letters(self) -> None:
        self._queues.declare(
            self._names.dead_letters_queue, {**self._shared, **queue_arguments.DEAD_LETTERS}
        )
        self._administering.bind_queue(
            self._names.dead_letters_queue, self._names.resend_exchange, DEAD_LETTER_KEY
        )
