"""The service: hears operators, participants and coordinators, one after the other."""

import math
from collections.abc import Callable

import structlog

from fanfold.schemas.errors import MalformedMessageError, TransportError
from fanfold.schemas.events.coordinator import StandingBy
from fanfold.schemas.events.event import Event, InRun, Say
from fanfold.schemas.events.service import ServiceStarted
from fanfold.schemas.run_messages import OpenRun
from fanfold.serving.attendance import Attendance
from fanfold.serving.channel import ServiceChannel
from fanfold.serving.page import Asked
from fanfold.serving.requests import Requests
from fanfold.serving.run_processes import FromRun
from fanfold.serving.runs import Runs
from fanfold.transport import (
    Connected,
    Delivery,
    Disconnected,
    Ended,
    EventReader,
    StoppedError,
    SubscriptionLost,
)

TRY_SECONDS = 2.0

log = structlog.get_logger()


class Service:
    """All methods belong to the service's one thread.

    What changes a run is written down, then acknowledged, then answered. So a service that is
    killed in between is asked again, by the broker or by the operator, and recognises it.
    """

    def __init__(
        self,
        federation: str,
        *,
        channel: ServiceChannel,
        reader: EventReader,
        runs: Runs,
        requests: Requests,
        attendance: Attendance,
        say: Say,
        started: ServiceStarted,
    ) -> None:
        """Hear nothing yet; `started` is told once requests arrive."""
        self._federation = federation
        self._channel = channel
        self._reader = reader
        self._runs = runs
        self._requests = requests
        self._attendance = attendance
        self._say = say
        self._started = started
        self._try_at = 0.0
        self._has_begun = False
        self._stands_by = False
        self._told: list[OpenRun] | None = None
        """The open runs that everybody was told of; None where that has to be done again."""

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            while True:
                self._take(self._reader.read(min(self._try_at, self._runs.due_at)))
                if self._reader.now >= self._try_at:
                    self._open()
                if self._has_begun:
                    self._runs.tend()
                    self._tell_if_changed()
        except StoppedError as stopped:
            log.info("stopped", reason=stopped.reason)

    def _take(self, event: object) -> None:
        match event:
            case FromRun():
                self._runs.hear(event)
                if isinstance(event.told, Event):
                    self._say(InRun(event.run, event.told))
            case Delivery() if self._channel.is_request(event):
                self._answer(event)
            case Delivery() if self._channel.is_event(event):
                participant = self._attendance.take(event)
                self._channel.acknowledge(event)
                if participant is not None:
                    self._try(lambda: self._channel.tell(self._runs.open, participant))
            case Asked():
                event.settle(self._requests)
            case Connected() | Disconnected():
                self._try_at = self._reader.now
            case SubscriptionLost() if self._channel.is_lost(event.subscription):
                self._try_at = self._reader.now
            case Ended():
                raise event.error

    def _open(self) -> None:
        """Take the lock and receive; where that is not possible now, soon."""
        self._try_at = self._reader.now + TRY_SECONDS
        if not self._channel.is_connected or not self._try(self._lock_and_receive):
            return
        if self._stands_by:
            return
        self._try_at, self._told = math.inf, None
        if not self._has_begun:
            self._has_begun = True
            self._say(self._started)
            self._runs.begin()

    def _lock_and_receive(self) -> None:
        is_ours = self._channel.take_lock()
        if not is_ours and not self._stands_by:
            self._say(StandingBy(self._federation))
        self._stands_by = not is_ours
        if is_ours:
            self._channel.open()

    def _answer(self, delivery: Delivery) -> None:
        try:
            request = self._requests.read(delivery)
        except MalformedMessageError as error:
            log.warning("malformed request", reason=str(error), sender=delivery.user_id)
            self._channel.acknowledge(delivery)
            return
        answer = self._requests.do(request, delivery.user_id or "unknown")
        self._channel.acknowledge(delivery)
        log.info("answered", request=request.KIND, sender=delivery.user_id)
        self._try(lambda: self._channel.answer(answer, request.answer_to))

    def _tell_if_changed(self) -> None:
        """Tell everybody which runs are open, when that has changed."""
        runs = self._runs.open
        if runs != self._told and self._channel.is_receiving():
            self._told = runs
            if not self._try(lambda: self._channel.tell(runs)):
                self._told = None

    def _try(self, work: Callable[[], None]) -> bool:
        """Do what takes the broker; where it fails, everything is opened again soon.

        An answer that is lost is asked for again.
        """
        try:
            work()
        except TransportError as error:
            self._reader.check()
            log.warning("the broker is out of reach", reason=str(error))
            self._try_at = self._reader.now + TRY_SECONDS
            return False
        return True
