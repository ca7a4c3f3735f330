"""The participant: a long-lived service that answers every version it gets with one update."""

import math
import time
from collections.abc import Callable

import structlog

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.membership import Membership
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.subscriber import Subscriber
from fanfold.participant.version import Version
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.participant.worker_events import (
    ABANDON_SECONDS,
    Abandoned,
    Answered,
    Failed,
    FinalTaken,
    Forgotten,
    NotApplied,
    Told,
    Worker,
    last_words,
)
from fanfold.schemas.errors import ConnectionClosedError, MalformedMessageError
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.participant import (
    DifferenceNotApplied,
    Leaving,
    OwnUpdateRefused,
    RunOver,
)
from fanfold.schemas.events.shared import MessageRefused
from fanfold.schemas.messages import Message, RunFinished, UpdateRefused
from fanfold.schemas.run_messages import OpenRuns
from fanfold.transport import (
    Delivery,
    EventBuffer,
    Stop,
)

OF_A_RESIDENT = (
    "`fanfold serve` opens runs in this federation; to take part in them, start this participant "
    "with --allow TASK instead of --task; a region takes part where `fanfold coordinator` runs"
)


class Participant:
    """One participant of one federation.

    All methods belong to the service's thread, which never trains and never waits for long: the
    training worker trains and uploads, the connections do the I/O, and all of them report through
    the event buffer.

    Args:
        settings: with the id to take part under.
        channel: to the broker.
        receiver: puts versions together.
        worker: trains, and uploads.
        event_buffer: where deliveries, events and results come from.
        membership: publishes what the participant says of itself.
        say: called with what a person should know.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        settings: ParticipantSettings,
        *,
        channel: ParticipantChannel,
        receiver: VersionReceiver,
        worker: Worker,
        event_buffer: EventBuffer,
        membership: Membership,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._channel = channel
        self._receiver = receiver
        self._worker = worker
        self._event_buffer = event_buffer
        self._membership = membership
        self._say = say
        self._clock = clock
        self._subscriber = Subscriber(
            settings,
            channel=channel,
            receiver=receiver,
            membership=membership,
            worker=worker,
            say=say,
            clock=clock,
        )
        self._at_work: Version | None = None
        self._answered: Version | None = None
        """The last one whose update is confirmed."""
        self._kept: Version | None = None
        """The last model that the worker was told to keep."""
        self._is_leaving = False
        self._reason = ""
        self._leave_at: float | None = None
        self._give_up_at = math.inf

    def run(self) -> bool:
        """Answer versions until told to leave.

        Returns:
            False if the task trains on, because it does not ask whether it should stop: then only
            the end of the process ends it.

        Raises:
            InvalidInputError: if the coordinator trains another network than this task's.
            RefusedByBrokerError: if we may not read our queue.
        """
        try:
            while not self._has_left:
                self._handle(self._event_buffer.get(self._seconds_to_next_duty()))
                self._do_duties()
                self._work()
        except BaseException as error:
            self._reason = self._reason or last_words(error)
            raise
        finally:
            is_over = self._worker.close()
            self._membership.goodbye(self._reason, self._answered)
        return is_over

    @property
    def _has_left(self) -> bool:
        return self._is_leaving and (self._at_work is None or self._clock() >= self._give_up_at)

    # -- work

    def _work(self) -> None:
        """Start on the newest version there is, unless one is in training."""
        if self._at_work is not None or self._is_leaving:
            return
        version = self._receiver.start()
        if version is None and self._receiver.was_sent_again():
            version = self._receiver.held
        if version is not None:
            self._at_work = version
            self._worker.submit(version)  # first of all: a round waits for it
            self._say_received(version)
            self._subscriber.begins_training()

    def _say_received(self, version: Version) -> None:
        structlog.contextvars.bind_contextvars(run=version.run, version=version.number)
        self._say(version.received(self._clock()))

    def _finish_work(self, answered: Answered) -> None:
        """Acknowledge the version, now that its update is confirmed."""
        version = answered.version
        self._at_work = None
        self._answered = version
        self._receiver.answer()
        self._say(answered.sent())

    # -- events

    def _handle(self, event: object) -> None:
        match event:
            case Delivery() if self._channel.is_current(event.subscription):
                self._take(event)
            case Answered():
                self._finish_work(event)
            case Abandoned() | Forgotten():
                self._at_work = None
                self._receiver.forget_answer()
            case NotApplied(version, reason):
                self._at_work = None
                self._say(DifferenceNotApplied(version.run, version.number, reason))
                self._receiver.ask_for_whole()
                self._subscriber.ask_for_whole()
            case FinalTaken():
                self._say(event.told)
                if event.version is self._receiver.final:
                    self._receiver.final_is_kept()
            case Failed():
                self._fail(event)
            case Told():
                self._say(event.event)
            case Stop():
                self._stop(event)
            case _:
                self._subscriber.notice(event)

    def _fail(self, failed: Failed) -> None:
        self._at_work = None
        if not (self._is_leaving and isinstance(failed.error, ConnectionClosedError)):
            self._reason = self._reason or failed.words
            raise failed.error  # the connection was not closed so that nobody needs to wait for it

    def _take(self, delivery: Delivery) -> None:
        try:
            note = self._receiver.take(delivery)
        except MalformedMessageError as error:
            self._say(MessageRefused(str(error)))
            return
        if note is not None:
            self._read(note)
        for coming in (self._receiver.incoming, self._receiver.final):
            if coming is not None:
                self._subscriber.make_room(coming)
        self._keep_final()

    def _keep_final(self) -> None:
        """Have the last model of a run kept, as soon as it is whole."""
        final = self._receiver.final
        if final is not None and final is not self._kept and final.is_whole:
            self._kept = final
            self._worker.keep_final(final)

    def _read(self, note: Message) -> None:
        match note:
            case RunFinished():
                held = self._receiver.held
                self._receiver.forget_run(note.run)
                self._say(RunOver(note.run, note.version, note.reason, note.accuracy))
                if self._settings.once and held is not None and held.run == note.run:
                    self._leave("the run is finished")
            case UpdateRefused():
                self._say(OwnUpdateRefused(note.base_version, note.reason))
                self._worker.refused(note)
            case OpenRuns():
                self._say(MessageRefused(OF_A_RESIDENT))

    # -- leaving

    def _seconds_to_next_duty(self) -> float:
        duties = [self._subscriber.next_duty_at]
        if self._is_leaving:
            duties.append(self._give_up_at if self._leave_at is None else self._leave_at)
        return max(0.0, min(duties) - self._clock())

    def _do_duties(self) -> None:
        now = self._clock()
        self._subscriber.do_duties()
        if self._leave_at is not None and now >= self._leave_at:
            self._leave_at = None
            self._give_up_at = now + ABANDON_SECONDS
            self._worker.abandon()

    def _stop(self, stop: Stop) -> None:
        """Take no new version; finish the one in training within the grace time, or abandon it."""
        self._leave_at = self._clock() + self._settings.grace_seconds
        self._leave(stop.reason)

    def _leave(self, reason: str) -> None:
        self._is_leaving, self._reason = True, reason
        self._say(Leaving(reason))
