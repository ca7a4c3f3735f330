"""A participant's subscription to its own queue, and its progress reports."""

import math
from collections.abc import Callable
from typing import Protocol

import structlog

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.membership import Membership
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.version import Version
from fanfold.participant.worker_events import Activity
from fanfold.schemas.errors import (
    ACCESS_REFUSED,
    NOT_FOUND,
    ConnectionLostError,
    QueueDownError,
    RefusedByBrokerError,
)
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.events.participant import IdTaken, QueueDown, WaitingForCoordinator
from fanfold.schemas.events.shared import BrokerAccepts
from fanfold.transport import (
    Backoff,
    Blocked,
    Connected,
    Disconnected,
    Ended,
    SubscriptionLost,
    Unblocked,
)

log = structlog.get_logger()

SUBSCRIBES_AGAIN = Backoff(0.1, 5.0)
LOOK_SECONDS = 1.0
"""Between two looks whether the worker does something new, which is reported at once."""


class Held(Protocol):
    """Knows which version is held."""

    @property
    def held(self) -> Version | None:
        """The newest whole version."""
        ...

    def disconnected(self) -> None:
        """Forget the deliveries of a lost subscription."""


class AtWork(Protocol):
    """Does the work that is reported."""

    @property
    def activity(self) -> Activity:
        """What it is doing now."""
        ...

    def let_go(self) -> None:
        """Leave the state folder to who holds the id now."""


class Subscriber:
    """Keeps the participant subscribed, and tells the coordinator that it is there.

    Belongs to the service's thread. Times are seconds of the service's clock.

    Args:
        settings: with the id and how often to give a sign of life.
        channel: to the broker.
        receiver: is told when deliveries come again.
        membership: publishes hello and progress.
        worker: lets the state folder go when another process has the id.
        say: called with what a person should know.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        settings: ParticipantSettings,
        *,
        channel: ParticipantChannel,
        receiver: Held,
        membership: Membership,
        worker: AtWork,
        say: Say,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._channel = channel
        self._receiver = receiver
        self._membership = membership
        self._worker = worker
        self._say = say
        self._clock = clock
        self._window = 1
        """Chunks that may be unacknowledged: those of one version, once one was seen."""
        self._failures = 0
        self._next_try = clock()
        self._next_progress = clock() + settings.progress_seconds
        self._next_look = clock() + LOOK_SECONDS
        self._told_at, self._told_phase = -math.inf, Activity().phase
        self._told_refusal = 0

    @property
    def next_duty_at(self) -> float:
        """When `do_duties` has something to do."""
        if not self._channel.is_subscribed:
            return self._next_try
        return min(self._next_progress, self._next_look)

    def do_duties(self) -> None:
        """Subscribe again if need be, and publish a progress report if one is due.

        Raises:
            RefusedByBrokerError: if we may not read our queue.
        """
        now = self._clock()
        if not self._channel.is_subscribed and now >= self._next_try:
            self._next_try = now + SUBSCRIBES_AGAIN.longest_seconds
            self._subscribe()
        if self._channel.is_subscribed and now >= min(self._next_progress, self._next_look):
            self._next_look = now + LOOK_SECONDS
            activity = self._worker.activity
            is_new = activity.phase not in {self._told_phase, "waiting"}
            if is_new or now >= self._next_progress:
                self._progress(activity)

    def begins_training(self) -> None:
        """Say so at once; if something was said just now, the next look does."""
        if self._channel.is_subscribed and self._clock() >= self._told_at + LOOK_SECONDS:
            self._progress(Activity("training"))
        else:
            self._told_phase = "waiting"

    def ask_for_whole(self) -> None:
        """Say at once that the current version is wanted whole; each report says it again."""
        if self._channel.is_subscribed:
            self._progress(self._worker.activity)

    def notice(self, event: object) -> None:
        """Take note of an event of a connection.

        Raises:
            Exception: that with which the connection has ended.
        """
        match event:
            case Connected() if self._channel.is_mine(event.connection):
                self._next_try, self._failures = self._clock(), 0
            case SubscriptionLost() if self._channel.is_current(event.subscription):
                if event.code == NOT_FOUND:  # as a coordinator does who gives it other limits
                    log.info("my queue was deleted, asking for another")
                else:
                    log.warning("subscription lost", reason=event.text)
                self._lost()
            case Disconnected() if self._channel.is_mine(event.connection):
                log.warning("connection lost", reason=event.reason)
                self._lost()
            case Blocked() | Unblocked():
                self._say(BrokerAccepts(isinstance(event, Unblocked)))
            case Ended():
                raise event.error

    def _lost(self) -> None:
        """Note that the subscription has ended: unacknowledged messages are delivered again."""
        self._channel.lost()
        self._receiver.disconnected()
        self._next_try = self._clock() + SUBSCRIBES_AGAIN.first_seconds

    def make_room(self, incoming: Version) -> None:
        """Let all chunks of a version come before any of them is acknowledged.

        Raises:
            RefusedByBrokerError: if we may not read our queue any more.
        """
        if incoming.num_chunks > self._window:
            self._window = incoming.num_chunks
            self._subscribe()
            if not self._channel.is_subscribed:
                self._receiver.disconnected()

    def _subscribe(self) -> None:
        """Read my queue if it is there; if not, hello makes the coordinator put it there."""
        was_subscribed = self._channel.is_subscribed
        try:
            self._channel.subscribe(self._window)
        except ConnectionLostError:
            return  # Connected brings us back
        except QueueDownError:  # a hello would not help: the queue is there, behind a dead node
            self._tell_once(NOT_FOUND, QueueDown(self._settings.id))
            self._next_try = self._clock() + SUBSCRIBES_AGAIN.longest_seconds
            return
        except RefusedByBrokerError as refusal:
            is_taken = refusal.code == ACCESS_REFUSED and "exclusive" in refusal.text
            if not is_taken and refusal.code != NOT_FOUND:
                raise
            self._failures += 1
            self._next_try = self._clock() + SUBSCRIBES_AGAIN.seconds(self._failures)
            if is_taken:  # it is not for us to say hello in its name
                self._worker.let_go()
                self._tell_once(refusal.code, IdTaken(self._settings.id))
                return
        else:
            self._failures, self._told_refusal = 0, 0
            if was_subscribed:
                return  # the coordinator knows
        self._hello()

    def _hello(self) -> None:
        if not self._membership.hello(self._receiver.held):
            self._tell_once(NOT_FOUND, WaitingForCoordinator(self._settings.federation))

    def _progress(self, activity: Activity) -> None:
        self._told_at, self._told_phase = self._clock(), activity.phase
        self._next_progress = self._told_at + self._settings.progress_seconds
        held = self._receiver.held
        if held is None or held.wants_whole:
            self._hello()
        else:
            self._membership.progress(held, activity)

    def _tell_once(self, code: int, event: Event) -> None:
        if self._told_refusal != code:
            self._told_refusal = code
            self._say(event)
