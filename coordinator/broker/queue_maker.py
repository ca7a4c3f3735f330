"""Makes queues, or finds those that are there; tells ours from those of an operator."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from fanfold.coordinator.broker.queue_arguments import participant_queue_arguments, rooms
from fanfold.schemas.errors import (
    NOT_FOUND,
    PRECONDITION_FAILED,
    BrokerUnreachableError,
    QueueDownError,
    RefusedByBrokerError,
)
from fanfold.transport import Connection, QueueState

RECONNECT_SECONDS = 30.0

log = structlog.get_logger()


class QueueMaker:
    """Declares durable queues, classic by default, and waits for the broker's answers.

    The broker refuses to declare what is there with other arguments, by a code, and tells nobody
    what these are but in words that change with its release. What was declared by us for another
    version is found by asking for it.

    Every method raises `QueueDownError` if a queue lies on a node of the cluster that is down.
    """

    def __init__(self, connection: Connection) -> None:
        """Declare through this link."""
        self._connection = connection
        self._foreign: set[str] = set()
        """Queues that were declared by somebody else, who knows better."""
        self._former_rooms: dict[int, None] = {}
        """What queues of ours were found to be declared with, for another version."""

    def declare(
        self,
        queue: str,
        arguments: Mapping[str, object],
        bindings: Sequence[tuple[str, str]] = (),
    ) -> QueueState:
        """Declare a queue, and bind it; one that has other arguments is an operator's choice."""
        state = self._find_or_make(queue, arguments, bindings)
        if state is None:
            self._use_as_it_is(queue)
            self._bind(queue, bindings)
            state = QueueState(queue, num_ready=0, num_consumers=0)
        return state

    def fit(
        self, queue: str, *, version_bytes: int, bindings: Sequence[tuple[str, str]] = ()
    ) -> QueueState | None:
        """Have a participant's queue hold one version of this size, and never two; bind it.

        Where all is as it should be that is two trips to the broker: hundreds of participants are
        seen to one after the other.

        Args:
            queue: its name.
            version_bytes: of the version.
            bindings: pairs of an exchange and a routing key.

        Returns:
            None if it is an operator's, with other arguments than ours ever are.
        """
        arguments = participant_queue_arguments(version_bytes=version_bytes)
        state = self._find_or_make(queue, arguments, bindings)
        if state is not None:
            return state
        if queue in self._foreign or not self._is_ours(queue):
            self._use_as_it_is(queue)
            self._bind(queue, bindings)
            return None
        log.info("queue made anew", queue=queue, bytes=arguments["x-max-length-bytes"])
        self._connection.delete_queue(queue)
        return self._find_or_make(queue, arguments, bindings)

    def fit_together(
        self, queues: Mapping[str, Sequence[tuple[str, str]]], *, version_bytes: int
    ) -> Sequence[QueueState] | None:
        """Do the same for many queues at once, by name with their bindings.

        Returns:
            None if one of them was not as it should be: then each has to be looked at by itself.
        """
        arguments = participant_queue_arguments(version_bytes=version_bytes)
        try:
            return self._connection.declare_queues(
                queues, arguments={"x-queue-type": "classic", **arguments}
            )
        except QueueDownError:
            self._wait_connected()
            raise
        except RefusedByBrokerError as refusal:
            log.debug("queues have to be seen to one by one", broker_says=refusal.text)
            return None

    def _wait_connected(self) -> None:
        with suppress(BrokerUnreachableError):  # then what is asked next fails, and is retried
            self._connection.wait_connected(RECONNECT_SECONDS)

    def _is_ours(self, queue: str) -> bool:
        """Whether a queue has the arguments of ours for any version."""
        for room in (*self._former_rooms, *rooms()):
            if self._find_or_make(queue, participant_queue_arguments(room_bytes=room)) is not None:
                self._former_rooms[room] = None
                return True
        return False

    def _use_as_it_is(self, queue: str) -> None:
        if queue not in self._foreign:
            self._foreign.add(queue)
            log.info("somebody else declared this queue: it is used as it is", queue=queue)

    def _bind(self, queue: str, bindings: Sequence[tuple[str, str]]) -> None:
        for exchange, routing_key in bindings:
            self._connection.bind_queue(queue, exchange, routing_key)

    def _find_or_make(
        self,
        queue: str,
        arguments: Mapping[str, object],
        bindings: Sequence[tuple[str, str]] = (),
    ) -> QueueState | None:
        """Declare a queue, classic by default; None if there is one with other arguments."""
        try:
            return self._connection.declare_queue(
                queue, arguments={"x-queue-type": "classic", **arguments}, bindings=bindings
            )
        except QueueDownError:
            self._wait_connected()
            raise
        except RefusedByBrokerError as refusal:
            if refusal.code == NOT_FOUND and bindings:  # the queue or an exchange: one by one
                state = self._find_or_make(queue, arguments)
                self._bind(queue, bindings)
                return state
            if refusal.code == NOT_FOUND:  # a queue's own node is down, and the queue with it
                raise QueueDownError(queue) from None
            if refusal.code != PRECONDITION_FAILED:
                raise
            log.debug("a queue with other arguments", queue=queue, broker_says=refusal.text)
            return None
