"""The way back to the broker: what connections tell, and what is declared again."""

import math
from collections.abc import Iterable

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.federation_queues import FederationQueues
from fanfold.coordinator.broker.leadership import STANDBY_SECONDS, Leadership
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.persistence.pending_acks import PendingAcks
from fanfold.coordinator.rounds.closing_rule import NOT_CONNECTED, OpenRound
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.schemas.errors import (
    NOT_FOUND,
    ConnectionLostError,
    QueueDownError,
    RefusedByBrokerError,
    TransportError,
)
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.shared import BrokerAccepts
from fanfold.transport import (
    Blocked,
    Connected,
    Disconnected,
    Ended,
    EventReader,
    SubscriptionLost,
    Unblocked,
)

RETRY_SECONDS = 5.0
"""A node of a cluster that is down says nothing when it is back: it is asked again."""
LOOK_SECONDS = 60.0
"""An exchange or a binding that somebody deletes says nothing either: they are declared again."""
BLOCKED = "the broker takes nothing"
"""From nobody: what participants have to say does not come either."""

log = structlog.get_logger()


class Recovery:
    """Knows whether the coordinator receives, and brings it back until it does.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        state: FederationState,
        *,
        reader: EventReader,
        channel: CoordinatorChannel,
        leader: Leadership,
        queues: FederationQueues,
        publisher: Publisher,
        pending_acks: PendingAcks,
        say: Say,
    ) -> None:
        """Begin with everything in order and no round open."""
        self._state = state
        self._reader = reader
        self._channel = channel
        self._leader = leader
        self._queues = queues
        self._publisher = publisher
        self._pending_acks = pending_acks
        self._say = say
        self._look_at = math.inf
        self._version_then = 0
        """The current one when it last looked."""
        self.is_blocked = False
        """Whether the broker takes nothing, because it is short of memory or disk."""
        self._retry_at = math.inf
        """When to come back once more: finite from the first attempt until one succeeds."""
        self._lost_reports = False
        """Whether a queue with updates in it was deleted, and nobody was asked again yet."""

    def wait_for_lock(self) -> None:
        """Take the lock for the first time; nothing is declared yet, and nothing received.

        Raises:
            StoppedError: if somebody wants us to stop meanwhile.
        """
        self._leader.take_first()

    def open(self) -> None:
        """Declare everything and begin to receive, however long the broker takes to be there.

        A broker that restarts lets one connection in before another: who stood by has the lock
        then, and nothing to declare on.

        Raises:
            SupersededError: if another coordinator held the lock meanwhile.
            StoppedError: if somebody wants us to stop meanwhile.
        """
        while True:
            try:
                self._receive()
            except (ConnectionLostError, QueueDownError) as error:
                log.warning("cannot receive yet", reason=str(error))
                self._reader.pause(STANDBY_SECONDS)
            else:
                self._queues.forget_outcome()
                self._look_at = self._reader.now + LOOK_SECONDS
                return

    def begin(self, opened: OpenRound) -> None:
        """Let the deadline of this round stand still while the broker takes nothing."""
        if self.is_blocked:
            opened.cannot_hear(self._reader.now, BLOCKED)

    @property
    def due_at(self) -> float:
        """When `tend` has something to do."""
        return min(self._retry_at, self._look_at)

    def tend(self) -> None:
        """Try once more to come back where that was broken off; look once a minute."""
        if self._reader.now >= self._retry_at:
            try:
                self.come_back()
            except TransportError as error:
                self.broken_off(error)
        if self._reader.now >= self._look_at:
            if self._retry_at == math.inf:
                self.declare_again(self._deaf())
            self._look_at = self._reader.now + LOOK_SECONDS

    def broken_off(self, error: TransportError) -> None:
        """Take what broke something off; what the broker has lost is soon declared anew.

        Raises:
            TransportError: if it does not pass.
        """
        match error:
            case RefusedByBrokerError(code=code) if code == NOT_FOUND:
                log.warning("declaring everything anew", reason=error.text)
                if self._retry_at == math.inf:
                    self._retry_at = self._reader.now
            case ConnectionLostError() | QueueDownError():
                log.warning("broken off in the middle of a call", reason=str(error))
            case _:
                raise error

    def declare_again(self, participants: Iterable[str] = ()) -> None:
        """Declare again what may be gone without a word, and bind the queues of these."""
        try:
            self._queues.declare_again(participants)
        except TransportError as error:
            self.broken_off(error)

    def come_back(self) -> None:
        """Receive again; what was lost with a deleted queue is sent again.

        Raises:
            TransportError: if it was broken off; then it is tried again, until it succeeds.
        """
        now = self._reader.now
        self._retry_at = now + RETRY_SECONDS
        self._state.cannot_hear(now, NOT_CONNECTED)
        emptied = self._receive()
        self._retry_at = math.inf
        if self._state.round is not None:
            self._state.hears_again(self._reader.now, NOT_CONNECTED)
            again = self._state.presence.names if self._lost_reports else emptied
            self._publisher.send_again(sorted(again - self._state.round.answered))
        self._lost_reports = False

    def notice(self, event: object) -> None:
        """Take what a connection tells about the broker.

        Raises:
            TransportError: if a connection has ended for good, or coming back was broken off.
        """
        match event:
            case Connected() if self._retry_at < math.inf or self._channel.holds_lock(
                event.connection
            ):
                self.come_back()
            case SubscriptionLost() if self._channel.is_current(event.subscription):
                log.warning("subscription lost", queue=event.subscription.queue, reason=event.text)
                # Deleted, and what lay in it is gone; after a timeout it comes again.
                self._lost_reports |= event.code == NOT_FOUND
                self.come_back()
            case Disconnected():
                self._disconnected(event)
            case Ended():
                raise event.error
            case Blocked() | Unblocked() if self._channel.publishes_on(event.connection):
                self._say(BrokerAccepts(isinstance(event, Unblocked)))
                self._set_blocked(is_blocked=isinstance(event, Blocked))

    def _disconnected(self, event: Disconnected) -> None:
        log.warning("connection lost", connection=event.connection.name, reason=event.reason)
        if self._channel.holds_lock(event.connection):
            self._state.cannot_hear(self._reader.now, NOT_CONNECTED)
        if self._channel.publishes_on(event.connection):
            self._set_blocked(is_blocked=False)

    def _set_blocked(self, *, is_blocked: bool) -> None:
        self.is_blocked = is_blocked
        if is_blocked:
            self._state.cannot_hear(self._reader.now, BLOCKED)
        else:
            self._state.hears_again(self._reader.now, BLOCKED)

    def _receive(self) -> frozenset[str]:
        """Hold the lock and receive again; return whose queue is empty."""
        self._leader.take()
        self._pending_acks.forget()
        return self._queues.open()

    def _deaf(self) -> list[str]:
        """Return who still waits with what was old a minute ago, to be bound again.

        Rounds that close by their goal never miss who hears nothing. Where versions are for a
        sample only, everybody may wait with an old one.
        """
        opened, version_then = self._state.round, self._version_then
        if opened is None or opened.policy.fraction < 1:
            return []
        self._version_then = opened.number - 1
        deaf = self._state.presence.waiting_below(version_then)
        self._state.presence.versions.forget(deaf)  # what they were sent is lost: the next will do
        return deaf
