"""Receives copies of a federation's events and versions, through queues of its own."""

import secrets
import time

from fanfold.coordinator.admission.event_decoder import decode_event, event_header
from fanfold.monitoring.status.federation_status import FederationStatus
from fanfold.schemas.chunk_header import ChunkHeader
from fanfold.schemas.errors import (
    NOT_FOUND,
    RESOURCE_LOCKED,
    BrokerUnreachableError,
    ConnectionLostError,
    MalformedMessageError,
    RefusedByBrokerError,
)
from fanfold.schemas.messages import Message, RunFinished
from fanfold.schemas.names import EVENT_KEY, FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import (
    Connected,
    Connection,
    Delivery,
    Disconnected,
    EventBuffer,
    Subscription,
)

EVENTS_LENGTH = 10_000
ANY_SIZE = ReaderLimits(max_bytes=1 << 53)


class Listener:
    """Puts what it receives into a status. Use it from one thread.

    Its two queues are exclusive: the broker deletes them with the connection. The one for versions
    holds a single chunk and drops the others, and one is taken at each `look`, so that watching a
    federation with a large model costs one chunk each time and not the whole model.
    """

    def __init__(
        self,
        names: FederationNames,
        status: FederationStatus,
        *,
        connection: Connection,
        event_buffer: EventBuffer,
    ) -> None:
        """Make a listener; it subscribes when it is connected."""
        self._names = names
        self._picture = status
        self._connection = connection
        self._event_buffer = event_buffer
        self._queue = names.status_queue(secrets.token_hex(4))
        self._versions: Subscription | None = None
        self._outcome: Subscription | None = None
        self._seen: Delivery | None = None
        self.problem: str | None = None
        """Why nothing can be received, as a sentence; None if it can."""

    def look(self) -> None:
        """Subscribe, if that is possible now, and take the next chunk of a version."""
        if self._versions is None:
            self._listen()
        self._ask_for_the_lock()
        if self._seen is not None:
            self._connection.acknowledge(self._seen)
            self._seen = None

    def hear(self, event: object) -> None:
        """Take an event of the connection."""
        match event:
            case Delivery() if event.subscription is self._versions:
                self._seen = event
                self._take_version(event)
            case Delivery() if event.subscription is self._outcome:
                self._take_outcome(event)
            case Delivery():
                self._connection.acknowledge(event)
                self._take_event(event)
            case Disconnected():
                self._versions = self._outcome = self._seen = None
                self.problem = f"no connection to the broker: {event.reason}"
            case Connected():
                self.problem = None

    def _listen(self) -> None:
        names, connection = self._names, self._connection
        events, versions = f"{self._queue}.events", f"{self._queue}.versions"
        try:
            for queue, length in ((events, EVENTS_LENGTH), (versions, 1)):
                arguments = {
                    "x-queue-type": "classic",
                    "x-max-length": length,
                    "x-overflow": "drop-head",
                }
                connection.declare_queue(queue, arguments=arguments, exclusive=True)
            connection.bind_queue(events, names.reports_exchange, EVENT_KEY)
            connection.bind_queue(versions, names.parameters_exchange)
            connection.subscribe(events, prefetch=256, consumer_tag="status, events")
            self._versions = connection.subscribe(
                versions, prefetch=1, consumer_tag="status, versions"
            )
        except RefusedByBrokerError as refusal:
            self.problem = (
                f"no coordinator has opened the federation {names.federation!r} on this broker yet"
                if refusal.code == NOT_FOUND
                else f"this login may not listen: {refusal}"
            )
        except (ConnectionLostError, BrokerUnreachableError) as error:
            self.problem = str(error)
        else:
            self.problem = None
            self._ask_for_the_outcome()

    def _ask_for_the_lock(self) -> None:
        """Ask whether a coordinator is here: nobody else may read the queue that is its lock."""
        self._picture.has_lock = None
        try:
            self._connection.subscribe(
                self._names.coordinator_queue, prefetch=1, consumer_tag="status, lock"
            )
        except RefusedByBrokerError as refusal:
            if refusal.code in (NOT_FOUND, RESOURCE_LOCKED):
                self._picture.has_lock = refusal.code == RESOURCE_LOCKED
        except (ConnectionLostError, BrokerUnreachableError) as error:
            self.problem = str(error)

    def _ask_for_the_outcome(self) -> None:
        """Read the end of the last run, which has a queue where no coordinator came since."""
        try:
            self._outcome = self._connection.subscribe(
                self._names.outcome_queue, prefetch=1, consumer_tag="status, outcome"
            )
        except RefusedByBrokerError as refusal:
            if refusal.code != NOT_FOUND:
                self.problem = f"this login may not see how the last run ended: {refusal}"
        except (ConnectionLostError, BrokerUnreachableError) as error:
            self.problem = str(error)

    def _take_outcome(self, delivery: Delivery) -> None:
        """Take the end of the last run, and give it back to the queue for who looks next."""
        if self._outcome is not None:
            self._connection.unsubscribe(self._outcome)
            self._outcome = None
        try:
            self._take_end(_end_of(event_header(delivery), delivery.body))
        except MalformedMessageError:
            return  # of another release

    def _take_event(self, delivery: Delivery) -> None:
        try:
            header = event_header(delivery)
            if header.seal is not None:  # nobody but the coordinator reads it
                self._picture.take_sealed(header.kind, header.labels, time.monotonic())
                return
            event = decode_event(header, delivery.body)
            self._picture.take_event(event, time.monotonic())
        except MalformedMessageError:
            return  # the coordinator gets the same message and reports it

    def _take_version(self, delivery: Delivery) -> None:
        try:
            header = ChunkHeader.parse(
                kind=delivery.kind,
                headers=delivery.headers,
                body_length=len(delivery.body),
                limits=ANY_SIZE,
            )
            self._picture.take_version(header.labels, header.epoch)
            if header.kind == RunFinished.KIND:
                self._take_end(_end_of(event_header(delivery), delivery.body))
        except MalformedMessageError:
            return

    def _take_end(self, note: Message) -> None:
        if isinstance(note, RunFinished):
            self._picture.take_end(note)


def _end_of(header: ChunkHeader, body: bytes) -> Message:
    """Return what says that a run is over; of a sealed one, what its headers say."""
    if header.seal is None:
        return decode_event(header, body)
    return RunFinished(run=header.labels.run or "unknown", version=header.labels.version or 0)
