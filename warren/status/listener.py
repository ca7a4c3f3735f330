"""Overhears a federation's events and versions, through queues of its own."""

import secrets
import time

from coordinator.events import read_event
from schemas.errors import (
    NOT_FOUND,
    BrokerUnreachableError,
    ConnectionLostError,
    MalformedMessageError,
    RefusedByBrokerError,
)
from schemas.limits import Limits
from schemas.place import ChunkPlace
from schemas.topology import EVENT_KEY, Topology
from transport import Connected, Delivery, Disconnected, Inbox, Link, Subscription
from warren.status.picture import Picture

EVENTS_LENGTH = 10_000
ANY_SIZE = Limits(max_bytes=1 << 53)


class Listener:
    """Puts what it hears into a picture. Belongs to one thread.

    Its two queues are exclusive: they go with the connection. The one for versions keeps a single
    chunk and drops the others, and hands out one for each `look`, so that watching a federation
    with a large model costs one chunk a look and not the model.
    """

    def __init__(self, topology: Topology, picture: Picture, *, link: Link, inbox: Inbox) -> None:
        """Hear nothing yet."""
        self._names = topology
        self._picture = picture
        self._link = link
        self._inbox = inbox
        self._queue = topology.status_queue(secrets.token_hex(4))
        self._versions: Subscription | None = None
        self._seen: Delivery | None = None
        self.problem: str | None = None
        """Why nothing can be heard, in words."""

    def look(self) -> None:
        """Listen, if that is possible now, and let the next chunk of a version come."""
        if self._versions is None:
            self._listen()
        if self._seen is not None:
            self._link.acknowledge(self._seen)
            self._seen = None

    def hear(self, event: object) -> None:
        """Take an event of the link."""
        match event:
            case Delivery() if event.subscription is self._versions:
                self._seen = event
                self._take_version(event)
            case Delivery():
                self._link.acknowledge(event)
                self._take_event(event)
            case Disconnected():
                self._versions = self._seen = None
                self.problem = f"no connection to the broker: {event.reason}"
            case Connected():
                self.problem = None

    def _listen(self) -> None:
        names, link = self._names, self._link
        events, versions = f"{self._queue}.events", f"{self._queue}.versions"
        try:
            for queue, length in ((events, EVENTS_LENGTH), (versions, 1)):
                arguments = {
                    "x-queue-type": "classic",
                    "x-max-length": length,
                    "x-overflow": "drop-head",
                }
                link.declare_queue(queue, arguments=arguments, exclusive=True)
            link.bind_queue(events, names.reports_exchange, EVENT_KEY)
            link.bind_queue(versions, names.parameters_exchange)
            link.subscribe(events, prefetch=256, consumer_tag="status, events")
            self._versions = link.subscribe(versions, prefetch=1, consumer_tag="status, versions")
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

    def _take_event(self, delivery: Delivery) -> None:
        try:
            self._picture.overheard(read_event(delivery), time.monotonic())
        except MalformedMessageError:
            return  # the coordinator will say so: it gets the same one

    def _take_version(self, delivery: Delivery) -> None:
        try:
            place = ChunkPlace.parse(
                kind=delivery.kind,
                headers=delivery.headers,
                body_length=len(delivery.body),
                limits=ANY_SIZE,
            )
        except MalformedMessageError:
            return
        self._picture.published(place.labels, place.epoch)
