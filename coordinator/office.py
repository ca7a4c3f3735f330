"""The office that one living coordinator holds, and everything that goes out from it."""

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

import structlog

from coordinator.books import Books
from coordinator.desk import Desk
from coordinator.outbox import Outbox, Sent
from coordinator.presence import Presence
from coordinator.publication import Publication
from coordinator.reports import Say
from coordinator.rules import OpenRound
from schemas.chunks import cut
from schemas.codec import encode
from schemas.errors import (
    ConnectionLostError,
    QueueDownError,
    QueueFullError,
    RefusedByBrokerError,
    UnroutableError,
)
from schemas.messages import Message
from transport import Connected, Delivery, Inbox

STANDBY_SECONDS = 2.0
NOT_FOUND = 404

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stop:
    """An event that ends the service in an orderly way; put into the inbox from any thread."""

    reason: str


class StoppedError(Exception):
    """Raised in the work thread once a `Stop` was read; no error of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Order:
    """What the outbox was asked to send: a version or something small, to one or to everybody."""

    publication: Publication | None = None
    participant: str | None = None


class Office:
    """Takes the lock, keeps it through lost connections, and sends the current version.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        federation: str,
        *,
        desk: Desk,
        inbox: Inbox,
        books: Books,
        presence: Presence,
        say: Say,
        version_bytes: int,
        window: int,
        results_bytes: int | None,
    ) -> None:
        """Say nothing to the broker yet."""
        self._federation = federation
        self._desk = desk
        self._inbox = inbox
        self._books = books
        self._presence = presence
        self._say = say
        self._version_bytes = version_bytes
        self._window = window
        self._results_bytes = results_bytes
        self._publication: Publication | None = None
        self._receivers: frozenset[str] | None = None
        self._must_publish = False
        """Whether the current version still has to go out, because an exchange was gone."""
        self._outbox = Outbox(inbox.put_event)
        self._num_orders = 0
        self.bytes_down = 0
        """Bytes sent since the current version was published, to everybody it was sent to."""

    @property
    def is_window_half_full(self) -> bool:
        """Whether so much is unacknowledged that unfinished uploads could soon fill the window."""
        return self._books.num_waiting >= self._window // 2

    def enter(self) -> None:
        """Wait for a connection and for the lock; stand by for as long as another one holds it."""
        while not isinstance(event := self._inbox.get(None), Connected) or not self._desk.is_office(
            event.link
        ):
            self.check_stop(event)
        self._hold_lock()

    def open(self) -> None:
        """Take the next epoch, declare everything and begin to receive."""
        self._books.take_epoch()
        self._declare()

    def come_back(self) -> frozenset[str]:
        """Hold the lock and receive again after a lost connection, or a lost subscription.

        Everything unacknowledged comes again.

        Returns:
            Who has a queue in which nothing is: it was deleted, or the broker came back empty.

        Raises:
            SupersededError: if another coordinator held the office meanwhile.
        """
        self._hold_lock()
        self._books.check_epoch()
        self._books.forget_deliveries()
        emptied = self._declare()
        if self._must_publish:
            self._publish()
        return emptied

    def publish(self, publication: Publication, *, to: frozenset[str] | None = None) -> None:
        """Begin to send a version to everybody, or to some only; `is_idle` says when it is out.

        From now on it is the one that is sent again, to those and nobody else.
        """
        self._publication, self._receivers = publication, to
        self.bytes_down = 0
        self._publish()

    @property
    def is_idle(self) -> bool:
        """Whether everything is out, and the tensors of the current version may change."""
        return not self._num_orders and not self._must_publish

    def sent(self, event: Sent) -> bool:
        """Take what the outbox says about an order of ours.

        Returns:
            False if something that we declared is gone: then everything is to be declared anew.

        Raises:
            TransportError: what the broker refuses for good.
        """
        self._num_orders -= 1
        order = event.about
        assert isinstance(order, _Order)  # noqa: S101 - nobody else uses the outbox
        match event.error:
            case None:
                pass
            case UnroutableError() if order.participant is not None:
                self._desk.forget(order.participant)
            case QueueFullError() as refusal:  # an operator's policy; the deadline tries again
                log.warning("a queue takes no more", reason=str(refusal))
            case RefusedByBrokerError(code=code) if code != NOT_FOUND:
                raise event.error
            case UnroutableError() | RefusedByBrokerError() as refusal:
                log.warning("declaring everything anew", reason=str(refusal))
                self._must_publish |= order.publication is self._publication is not None
                return False
            case error:
                raise error
        return True

    def widen(self, more: frozenset[str]) -> None:
        """Let these get the current version too, when it is sent again."""
        if self._receivers is not None:
            self._receivers |= more

    def send_again(self, participants: Iterable[str]) -> None:
        """Begin to send the current version to some only, if they were to get it."""
        publication = self._publication
        if publication is None:
            return
        for participant in participants:
            if self._receivers is not None and participant not in self._receivers:
                continue
            self._submit(
                partial(self._desk.resend, participant, publication.chunks),
                _Order(publication, participant),
            )
            self.bytes_down += publication.num_bytes

    def send_again_to_all_but(self, answered: AbstractSet[str]) -> None:
        """Send the current version to everybody who was to get it and has not answered it."""
        receivers = self._desk.known if self._receivers is None else self._receivers
        self.send_again(sorted(receivers - answered))

    def remind(self, late: OpenRound) -> None:
        """The deadline passed without the quorum: say so, and send the version again."""
        self._say(
            "waiting",
            {
                "for": f"{late.rules.quorum} updates",
                "round": late.number,
                "updates": late.counted,
                "present": len(self._presence),
            },
        )
        self.send_again_to_all_but(late.answered)

    def announce(self, message: Message, *, to: str | None = None) -> None:
        """Begin to send a small message to everybody, or to one."""
        chunks = cut(encode(message), epoch=self._books.epoch if to is None else None)
        if to is None:
            self._submit(partial(self._desk.publish, chunks), _Order())
        else:
            self._submit(partial(self._desk.resend, to, chunks), _Order(participant=to))

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Begin to put a malformed message aside; it is acknowledged once it is kept."""
        self._submit(partial(self._desk.dead_letter, delivery, reason), _Order())

    def drop_the_silent(self, closed: OpenRound) -> None:
        """Who was silent through a deadline is not waited for until something is heard again."""
        if time.monotonic() >= closed.deadline:
            for participant in self._presence.drop_silent_since(closed.opened_at):
                fields = {"participant": participant, "round": closed.number}
                self._say("participant_silent", fields)

    def welcome(self, participant: str) -> bool:
        """Give a queue to who says hello; False if it lies on a broker node that is down.

        A queue that nothing can be in gets the current version, if its owner is to have it.
        """
        if is_empty := self._admit(participant):
            self.send_again([participant])
        return is_empty is not None

    def close(self) -> None:
        """Send nothing more."""
        self._outbox.close()

    def check_stop(self, event: object) -> None:
        """Raise `StoppedError` if this event asks for it."""
        if isinstance(event, Stop):
            raise StoppedError(event.reason)

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody wants us to stop; all else is read later."""
        stop = self._inbox.find(Stop, seconds)
        if stop is not None:
            raise StoppedError(stop.reason)

    def _publish(self) -> None:
        publication = self._publication
        assert publication is not None  # noqa: S101 - set before
        self._must_publish = False
        if self._receivers is None:
            self._submit(partial(self._desk.publish, publication.chunks), _Order(publication))
            self.bytes_down += publication.num_bytes * len(self._desk.known)
        else:
            self.send_again(sorted(self._receivers))

    def _submit(self, action: Callable[[], None], order: "_Order") -> None:
        self._num_orders += 1
        self._outbox.submit(action, about=order)

    def _hold_lock(self) -> None:
        stood_by = False
        while True:
            try:
                if self._desk.take_office():
                    return
            except ConnectionLostError:
                log.warning("connection lost while taking the lock")
            else:
                if not stood_by:
                    self._say("standing_by", {"federation": self._federation})
                stood_by = True
            self.pause(STANDBY_SECONDS)

    def _declare(self) -> frozenset[str]:
        """Declare everything and receive; return whose queue has nothing in it."""
        self._desk.open(window=self._window, results_bytes=self._results_bytes)
        return frozenset(
            participant
            for participant in sorted(self._presence.names | self._desk.known)
            if self._admit(participant)
        )

    def _admit(self, participant: str) -> bool | None:
        """Admit a participant; None if its queue is out of reach."""
        try:
            return self._desk.admit(participant, version_bytes=self._version_bytes)
        except QueueDownError as error:
            log.warning("out of reach", participant=participant, reason=str(error))
        return None
