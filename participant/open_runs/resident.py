"""A participant of many runs: it hears which are open, and takes part in those it allows."""

import math
import time
from collections.abc import Callable

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.membership import Membership
from fanfold.participant.open_runs.run_thread import RunEnded, Said
from fanfold.participant.open_runs.runs_at_work import RunsAtWork
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.subscriber import Subscriber
from fanfold.participant.worker_events import ABANDON_SECONDS, Activity
from fanfold.schemas.border import IN_CLEAR
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.events.event import InRun, Say
from fanfold.schemas.events.participant import Leaving, RunOver, WaitingForRuns
from fanfold.schemas.events.shared import MessageRefused
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.run_messages import OpenRuns
from fanfold.transport import (
    Delivery,
    EventBuffer,
    Stop,
)

LIMITS = ReaderLimits(max_bytes=64 << 10)
"""OpenRuns is small."""
ENDING_SECONDS = 3 * ABANDON_SECONDS
"""How long the threads of runs may take to end, beyond the grace time."""


class NothingHeld:
    """What a participant holds of the federation itself, where no version travels."""

    held = None
    activity = Activity()

    def disconnected(self) -> None:
        """Forget nothing."""

    def let_go(self) -> None:
        """Keep no folder."""


class Resident:
    """Hears which runs are open.

    All methods belong to the service's thread, which trains nothing: each run has threads of its
    own, and all of them report through the event buffer.

    Args:
        settings: with the id to take part under.
        channel: to the broker, of the federation itself.
        runs: those at work.
        event_buffer: where deliveries, events and the news of runs come from.
        membership: publishes what the participant says of itself, and what it declines.
        say: called with what a person should know.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        settings: ParticipantSettings,
        *,
        channel: ParticipantChannel,
        runs: RunsAtWork,
        event_buffer: EventBuffer,
        membership: Membership,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._channel = channel
        self._runs = runs
        self._event_buffer = event_buffer
        self._membership = membership
        self._say = say
        self._clock = clock
        self._subscriber = Subscriber(
            settings,
            channel=channel,
            receiver=NothingHeld(),
            membership=membership,
            worker=NothingHeld(),
            say=say,
            clock=clock,
        )
        self._told: dict[str, str] = {}
        """What was declined, as the coordinator has been told."""
        self._tell_at = math.inf
        """When to try again to tell it."""
        self._is_over = True
        self._reason: str | None = None
        self._give_up_at = math.inf

    def run(self) -> bool:
        """Take part in runs until told to leave.

        Returns:
            False if a task trains on, because it does not ask whether it should stop: then only
            the end of the process ends it.

        Raises:
            LoginRefusedError: if the broker does not let us in any more.
            RefusedByBrokerError: if we may not read our queue.
        """
        try:
            while not self._has_left:
                self._handle(self._event_buffer.get(self._seconds_to_next_duty()))
                self._do_duties()
        finally:
            self._membership.goodbye(self._reason or "", None)
        return self._is_over and not self._runs.at_work

    @property
    def _is_leaving(self) -> bool:
        return self._reason is not None

    @property
    def _has_left(self) -> bool:
        return self._reason is not None and (
            not self._runs.at_work or self._clock() >= self._give_up_at
        )

    def _handle(self, event: object) -> None:
        match event:
            case Delivery() if self._channel.is_current(event.subscription):
                self._take(event)
            case Said():
                if isinstance(event.event, RunOver):
                    self._runs.over(event.run)
                self._say(InRun(event.run, event.event))
            case RunEnded():
                self._is_over = self._is_over and event.is_over
                self._runs.ended(event)
                self._tell_declined()
                self._tell_waiting()
            case Stop():
                self._stop(event)
            case _:
                self._subscriber.notice(event)

    def _take(self, delivery: Delivery) -> None:
        """Follow the word of the resident coordinator; the last one holds."""
        self._channel.acknowledge(delivery)
        if delivery.kind != OpenRuns.KIND:
            self._say(
                MessageRefused(
                    f"{delivery.kind} is nothing that `fanfold serve` sends to all its "
                    "participants: if another coordinator holds this federation, start this "
                    "participant with --task instead of --allow"
                )
            )
            return
        try:
            word = open_runs_in(delivery)
        except MalformedMessageError as error:
            self._say(MessageRefused(str(error)))
            return
        self._runs.follow(word)
        self._tell_declined()
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        if not self._runs.at_work and self._reason is None:
            self._say(WaitingForRuns(self._settings.federation, len(self._runs.declined)))

    def _tell_declined(self) -> None:
        """Tell the coordinator what was declined and is not told yet, each run and reason once."""
        declined = self._runs.declined
        self._told = {name: why for name, why in self._told.items() if declined.get(name) == why}
        self._tell_at = math.inf
        for name, reason in declined.items():
            if name in self._told:
                continue
            if not self._membership.decline(name, reason):
                self._tell_at = self._clock() + self._settings.progress_seconds
                return
            self._told[name] = reason

    # -- duties and leaving

    def _seconds_to_next_duty(self) -> float:
        duties = (
            math.inf if self._is_leaving else self._subscriber.next_duty_at,
            self._runs.next_duty_at,
            self._tell_at,
            self._give_up_at,
        )
        return max(0.0, min(duties) - self._clock())

    def _do_duties(self) -> None:
        if not self._is_leaving:  # nothing more is to be heard, and the connection may be closed
            self._subscriber.do_duties()
        self._runs.do_duties()
        if self._clock() >= self._tell_at:
            self._tell_declined()

    def _stop(self, stop: Stop) -> None:
        """Take no further run; each finishes its training within the grace time."""
        self._reason = stop.reason
        self._give_up_at = self._clock() + self._settings.grace_seconds + ENDING_SECONDS
        self._say(Leaving(stop.reason))
        self._runs.leave(stop.reason)


def open_runs_in(delivery: Delivery) -> OpenRuns:
    """Return the message in a delivery.

    Raises:
        MalformedMessageError: if there is none.
    """
    header = ChunkHeader.parse(
        kind=delivery.kind, headers=delivery.headers, body_length=len(delivery.body), limits=LIMITS
    )
    problem = IN_CLEAR.problem(header)
    if problem is not None:
        raise MalformedMessageError(problem)
    assembly = Assembly(header, LIMITS)
    if not assembly.add(header, delivery.body):
        raise MalformedMessageError("OpenRuns that comes in several chunks")
    message = assembly.decode().message
    assert isinstance(message, OpenRuns)  # the kind is that of the delivery
    return message
