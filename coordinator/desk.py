"""The coordinator's side of the broker.

The office that only one can hold, the queues, and what is sent out.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from coordinator import queues
from schemas.chunks import Chunk
from schemas.errors import (
    NOT_FOUND,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    BrokerUnreachableError,
    QueueDownError,
    RefusedByBrokerError,
    UnroutableError,
)
from schemas.topology import DEAD_LETTER_KEY, EVENT_KEY, UPDATE_KEY, Topology
from transport import Delivery, Link, Outgoing, QueueState, Subscription

RECONNECT_SECONDS = 30.0
EVENTS_WINDOW = 256
DEAD_LETTER_BYTES = 64 << 10
"""What is kept of one; a person needs no more, and they wait in memory while the broker is full."""

log = structlog.get_logger()


class Desk:
    """Declares what the federation needs, publishes versions, and receives reports.

    Every method waits for the broker's answer. `publish`, `resend` and what `dead_letter` returns
    are called in the outbox's thread, for they may wait for hours; everything else in the work
    thread.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        consuming: Link,
        publishing: Link,
        administering: Link,
        shared_queues: str = "classic",
    ) -> None:
        """Use three links, and queues of this type for what all participants share.

        A blocked publisher would block its acknowledgements too. And the broker's answer to a
        declaration would stand behind all updates that are on their way on the same connection,
        which nobody takes while we wait for the answer.
        """
        self._names = topology
        self._consuming = consuming
        self._publishing = publishing
        self._administering = administering
        self._shared: dict[str, object] = {"x-queue-type": shared_queues}
        if shared_queues == "quorum":
            # Looking at a quorum queue in the management UI counts as a failed delivery, and 4.x
            # throws a message away after twenty of them.
            self._shared["x-delivery-limit"] = 1_000_000
        self._subscriptions: list[Subscription] = []
        self._known: set[str] = set()

    @property
    def logins(self) -> frozenset[str]:
        """The broker logins that the coordinator itself may use."""
        return self._consuming.logins

    def take_office(self) -> bool:
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

    def open(self, *, window: int, results_bytes: int | None) -> None:
        """Declare exchanges and queues, and begin to receive.

        Args:
            window: how many chunks of updates may be unacknowledged.
            results_bytes: disk budget of the results queue; participants back off when it is used
                up.
        """
        names, link = self._names, self._administering
        while self._subscriptions:
            self._consuming.unsubscribe(self._subscriptions.pop())
        link.declare_exchange(names.parameters_exchange, "fanout")
        link.declare_exchange(names.resend_exchange, "direct")
        link.declare_exchange(names.reports_exchange, "direct")
        budget = {"x-max-length-bytes": results_bytes} if results_bytes else {}
        self._declare(
            names.results_queue, {**self._shared, **budget, "x-overflow": "reject-publish"}
        )
        self._declare(
            names.events_queue,
            {**self._shared, **queues.EVENTS},
        )
        self._declare_dead_letters()
        link.bind_queue(names.results_queue, names.reports_exchange, UPDATE_KEY)
        link.bind_queue(names.events_queue, names.reports_exchange, EVENT_KEY)
        for queue, prefetch in ((names.results_queue, window), (names.events_queue, EVENTS_WINDOW)):
            self._subscriptions.append(
                self._consuming.subscribe(queue, prefetch=prefetch, consumer_tag="coordinator")
            )

    def is_result(self, delivery: Delivery) -> bool:
        """Whether a delivery came through the results queue."""
        return delivery.subscription.queue == self._names.results_queue

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

    def is_office(self, link: Link) -> bool:
        """Whether this is the link that holds the lock and receives."""
        return link is self._consuming

    def publishes_on(self, link: Link) -> bool:
        """Whether this is the link that versions go out on."""
        return link is self._publishing

    @property
    def is_connected(self) -> bool:
        """Whether all links have a connection now."""
        return all(
            link.connected for link in (self._consuming, self._publishing, self._administering)
        )

    def admit(self, participant: str, *, version_bytes: int) -> bool:
        """Make sure that the participant's queue is there, of the size of one version, and bound.

        Returns:
            Whether nothing that was published before can reach the participant: the queue is empty
            and nobody consumes it, because it was made just now or lies abandoned.

        Raises:
            QueueDownError: if it lies on a node of the cluster that is down.
        """
        queue = self._names.participant_queue(participant)
        arguments = queues.participant_queue_arguments(version_bytes)
        state = self._declare(queue, arguments, version_bytes=version_bytes)
        if state is None:
            log.info("queue made anew", queue=queue, bytes=arguments["x-max-length-bytes"])
            self._administering.delete_queue(queue)
            state = self._declare(queue, arguments)
        self._administering.bind_queue(queue, self._names.parameters_exchange)
        self._administering.bind_queue(queue, self._names.resend_exchange, participant)
        self._known.add(participant)
        return state is not None and not state.num_ready and not state.num_consumers

    @property
    def known(self) -> frozenset[str]:
        """Everybody who was admitted since this coordinator started."""
        return frozenset(self._known)

    def publish(self, chunks: Sequence[Chunk]) -> None:
        """Send a message to everybody; nobody being there yet is no mistake."""
        self._publishing.publish(
            self._outgoing(self._names.parameters_exchange, "", chunks, mandatory=False)
        )

    def resend(self, participant: str, chunks: Sequence[Chunk]) -> None:
        """Send a message to one participant.

        Raises:
            UnroutableError: if its queue is gone; it will say hello.
        """
        self._publishing.publish(
            self._outgoing(self._names.resend_exchange, participant, chunks, mandatory=True)
        )

    def forget(self, participant: str) -> None:
        """The participant's queue is gone: until its next hello nothing can reach it."""
        self._known.discard(participant)

    def dead_letter(self, delivery: Delivery, reason: str) -> Callable[[], None]:
        """Return how to keep a malformed message for a person.

        What is returned holds no more of a large body than is kept of it.
        """
        letter = Outgoing(
            exchange=self._names.resend_exchange,
            routing_key=DEAD_LETTER_KEY,
            body=delivery.body[:DEAD_LETTER_BYTES],
            kind=delivery.kind,
            message_id=delivery.message_id,
            headers={
                "reason": reason[:1024],
                "sender": delivery.user_id or "unknown",
                "body_bytes": len(delivery.body),
            },
        )
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
        self._declare(
            self._names.dead_letters_queue,
            {**self._shared, **queues.DEAD_LETTERS},
        )
        self._administering.bind_queue(
            self._names.dead_letters_queue, self._names.resend_exchange, DEAD_LETTER_KEY
        )

    def _declare(
        self, queue: str, arguments: dict[str, object], *, version_bytes: int | None = None
    ) -> QueueState | None:
        """Declare a queue, classic by default; None if there is one for other versions than these.

        Else one that exists with other arguments is an operator's choice and used as it is.
        """
        try:
            return self._administering.declare_queue(
                queue, arguments={"x-queue-type": "classic", **arguments}
            )
        except QueueDownError:
            with suppress(BrokerUnreachableError):  # then what is asked next fails, and is retried
                self._administering.wait_connected(RECONNECT_SECONDS)
            raise
        except RefusedByBrokerError as refusal:
            if refusal.code == NOT_FOUND:  # a queue's own node is down, and the queue with it
                raise QueueDownError(queue) from None
            if refusal.code != PRECONDITION_FAILED:
                raise
            if version_bytes and not queues.holds_one_version(refusal.text, version_bytes):
                return None
            log.info("queue used as it is", queue=queue, broker_says=refusal.text)
            return QueueState(
                queue, num_ready=0, num_consumers=0
            )  # unknown; sending twice does no harm

    def _outgoing(
        self, exchange: str, key: str, chunks: Sequence[Chunk], *, mandatory: bool
    ) -> Iterable[Outgoing]:
        for chunk in chunks:
            yield Outgoing(
                exchange=exchange,
                routing_key=key,
                body=chunk.body,
                kind=chunk.kind,
                message_id=chunk.message_id,
                headers=chunk.headers,
                mandatory=mandatory,
            )
