"""Watches over the broker: what the links tell, and the way back to the lock."""

import math
import time
from collections.abc import Callable
from functools import partial

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.leadership import Leadership
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.rounds.policy import OpenRound
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.reports import Say
from fanfold.schemas.errors import (
    NOT_FOUND,
    ConnectionLostError,
    QueueDownError,
    RefusedByBrokerError,
)
from fanfold.transport import Blocked, Connected, Disconnected, Ended, SubscriptionLost, Unblocked

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
        *,
        channel: CoordinatorChannel,
        leader: Leadership,
        publisher: Publisher,
        presence: Presence,
        say: Say,
    ) -> None:
        """Begin with everything in order and no round open."""
        self._channel = channel
        self._leader = leader
        self._publisher = publisher
        self._presence = presence
        self._say = say
        self.round: OpenRound | None = None
        """The one that is open: its deadline stands still while nothing can be received."""
        self._look_at = math.inf
        self._version_then = 0
        """The current one when it last looked."""
        self.is_blocked = False
        """Whether the broker takes nothing, because it is short of memory or disk."""
        self._retry_at = math.inf
        """When to come back once more: finite from the first attempt until one succeeds."""
        self._lost_reports = False
        """Whether a queue with updates in it was deleted, and nobody was asked again yet."""

    def begin(self, opened: OpenRound, now: float) -> None:
        """Watch over this round from now on."""
        self.round = opened
        if self.is_blocked:
            opened.cannot_hear(now, BLOCKED)

    @property
    def due_at(self) -> float:
        """When `retry_if_due` or `look_if_due` has something to do."""
        return min(self._retry_at, self._look_at)

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something that may need the broker; what the broker has lost is soon declared anew."""
        try:
            action()
        except RefusedByBrokerError as refusal:
            if refusal.code != NOT_FOUND:
                raise
            log.warning("declaring everything anew", reason=refusal.text)
            if self._retry_at == math.inf:
                self._retry_at = time.monotonic()
        except (ConnectionLostError, QueueDownError) as error:
            log.warning("broken off in the middle of a call", reason=str(error))

    def retry_if_due(self, now: float) -> None:
        """Try once more to come back, where that was broken off."""
        if now >= self._retry_at:
            self.attempt(self.come_back)

    def look_if_due(self, now: float) -> None:
        """Declare again what may be gone without a word, once a minute.

        Rounds that close by their goal never miss who hears nothing: who still waits with what was
        old a minute ago is bound again, unless versions are for a sample only.
        """
        if now >= self._look_at and self._retry_at == math.inf:
            deaf: list[str] = []
            if self.round is not None and self.round.policy.fraction == 1:
                deaf = self._presence.waiting_below(self._version_then)
                self._version_then = self.round.number - 1
            self.attempt(partial(self._leader.declare_again, deaf))
        if now >= self._look_at or self._look_at == math.inf:
            self._look_at = now + LOOK_SECONDS

    def come_back(self) -> None:
        """Receive again; what was lost with a deleted queue is sent again.

        Raises:
            TransportError: if it was broken off; then it is tried again, until it succeeds.
        """
        now = time.monotonic()
        self._retry_at = now + RETRY_SECONDS
        if self.round is not None:
            self.round.cannot_hear(now)
        emptied = self._leader.come_back()
        self._retry_at = math.inf
        if self.round is not None:
            self._hear_again()
            again = self._presence.names if self._lost_reports else emptied
            self._publisher.send_again(sorted(again - self.round.answered))
        self._lost_reports = False

    def _hear_again(self, *why: str) -> None:
        """Let the deadline go on; nobody was silent meanwhile."""
        if self.round is not None:
            now = time.monotonic()
            self._presence.could_not_speak(self.round.hears_again(now, *why), now)

    def notice(self, event: object) -> None:
        """Take what a link tells about the broker.

        Raises:
            TransportError: if a link has ended for good.
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
                log.warning(
                    "connection lost", connection=event.connection.name, reason=event.reason
                )
                if self.round is not None and self._channel.holds_lock(event.connection):
                    self.round.cannot_hear(time.monotonic())
                if self._channel.publishes_on(event.connection):
                    self.is_blocked = False
                    self._hear_again(BLOCKED)
            case Ended():
                raise event.error
            case Blocked() | Unblocked() if self._channel.publishes_on(event.connection):
                self.is_blocked = isinstance(event, Blocked)
                self._say("broker", {"accepts": isinstance(event, Unblocked)})
                if not self.is_blocked:
                    self._hear_again(BLOCKED)
                elif self.round is not None:
                    self.round.cannot_hear(time.monotonic(), BLOCKED)
