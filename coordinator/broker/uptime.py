"""Whether the broker was restarted, and lost what it had not written to its disk."""

from fanfold.coordinator.broker import queue_arguments
from fanfold.coordinator.broker.queue_maker import QueueMaker
from fanfold.schemas.names import UPTIME_KEY, FederationNames
from fanfold.transport import Connection, Outgoing


class BrokerUptime:
    """One message that is not persistent, in a queue of its own.

    AMQP tells nobody of a restart. Queues are kept over it, and what is persistent in them.
    """

    def __init__(
        self,
        names: FederationNames,
        queues: QueueMaker,
        *,
        publishing: Connection,
        is_cluster: bool,
    ) -> None:
        """Ask nothing yet. In a cluster all messages are persistent, and nothing is asked ever."""
        self._names = names
        self._queues = queues
        self._publishing = publishing
        self._is_cluster = is_cluster

    def was_interrupted(self) -> bool:
        """Whether the broker was restarted since the last `mark`, or there never was one.

        Belongs to the coordinator's work thread.
        """
        if self._is_cluster:
            return False
        state = self._queues.declare(
            self._names.uptime_queue,
            {"x-queue-type": "classic", **queue_arguments.ONE_MESSAGE},
            bindings=[(self._names.resend_exchange, UPTIME_KEY)],
        )
        return state.num_ready == 0

    def mark(self) -> None:
        """Leave the message that the next restart loses. Called in the publisher's thread."""
        mark = Outgoing(
            exchange=self._names.resend_exchange,
            routing_key=UPTIME_KEY,
            body=b"gone after a restart of the broker",
            kind="Uptime",
            message_id="uptime",
            persistent=False,
        )
        self._publishing.publish([mark])
