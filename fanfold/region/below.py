"""The coordinator of a region, in a thread of its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from torch import nn
from torch.utils.data import Dataset

from fanfold.coordinator.aggregation.model_form import ModelForm
from fanfold.coordinator.assembly import EVENT_BUFFER_BYTES, LEAST_CHUNK_BYTES, run_connected
from fanfold.coordinator.border import audited, border_of
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.connections import connect
from fanfold.coordinator.evaluation.evaluator import Evaluator
from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.observer import Observer, Observers, Unobserved
from fanfold.coordinator.persistence.model_names import BEST
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.round_loop import Coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.wiring import wire
from fanfold.learning import Task
from fanfold.monitoring.event_log import EventLog
from fanfold.region.handover import Handover
from fanfold.region.left_open import left_open
from fanfold.region.regional_coordinator import RegionalCoordinator, SumOnItsWay
from fanfold.region.regional_run import RegionalRun
from fanfold.region.represented import Represented
from fanfold.region.settings import RegionSettings
from fanfold.region.sums import VersionFromAbove
from fanfold.schemas.encodings import difference_encoding
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.tensor_codec import limits_for
from fanfold.schemas.timestamps import Clock
from fanfold.transport import EventBuffer, connection_of, tls_of

StopRegion = Callable[[str], None]
LOOK = object()
"""Lets the coordinator's loop turn once, to see what came from above."""


def check_below(settings: RegionSettings) -> None:
    """Refuse at the start what the first version from above would be too late for.

    Raises:
        InvalidInputError: if a file or an address of the side below cannot be used.
    """
    none = GlobalParameters(run="none", version=0, rounds=1, plan=TrainingPlan())
    below = settings.below(none)
    tls_of(below)
    border_of(below)


class Nothing(Task):
    """The task of a region: it trains nothing, and evaluates nothing."""

    def network(self) -> nn.Module:
        """Return a small network, which nobody uses: the tensors come from above."""
        return nn.Linear(1, 1)

    def train_data(self) -> Dataset[Any]:
        """Have none."""
        raise NotImplementedError("a region has no data")


class Below:
    """The coordinator of the federation below, in a thread of its own, one run after another."""

    def __init__(
        self,
        settings: RegionSettings,
        handover: Handover,
        *,
        say: Say,
        observer: Observer | None,
        wall_clock: Clock,
        reread: Callable[[], RegionSettings] | None,
    ) -> None:
        """Wait for a version."""
        self._settings = settings
        self._handover = handover
        self._say = say
        self.represented = Represented()
        self._observer = Observers(observer or Unobserved(), self.represented)
        self._wall_clock = wall_clock
        self._reread = reread
        self._thread = ThreadPoolExecutor(1, "below")
        self._work_done: Future[None] | None = None
        self._stop_region: StopRegion | None = None
        self._stop_run: StopRegion | None = None
        self._reason: str | None = None

    def start(self, stop_region: StopRegion) -> None:
        """Coordinate whatever run comes; `stop_region` is called if that fails."""
        self._stop_region = stop_region
        self._work_done = self._thread.submit(self._work)
        self._work_done.add_done_callback(self._tell_failure)

    def stop(self, reason: str) -> None:
        """Commit what there is, and end."""
        if self._reason is None:
            self._reason = reason
        self._handover.close()
        if self._stop_run is not None:
            self._stop_run(self._reason)

    def end(self) -> None:
        """Wait for the end.

        Raises:
            Exception: that with which the coordinator failed.
        """
        self._thread.shutdown()
        if self._work_done is not None:
            self._work_done.result()

    def _work(self) -> None:
        structlog.contextvars.bind_contextvars(federation=self._settings.federation)
        self._try_login()
        given = left_open(self._settings.out) or self._handover.wait()
        while given is not None:
            result = self._coordinate(given)
            if not result.is_finished:
                return
            self._say(result.event())
            given = self._handover.wait()

    def _try_login(self) -> None:
        """Be let in once at the start: the first version may come in an hour, or in the night.

        Raises:
            LoginRefusedError: if the broker below does not let us in.
            BrokerUnreachableError: if there is none within `connect_seconds`.
        """
        settings, tls = self._settings, tls_of(self._settings)
        with connection_of(
            settings, "coordinator", "tries its login", event_buffer=EventBuffer(), tls=tls
        ) as connection:
            self._is_ready(lambda _reason: connection.close())
            with suppress(ConnectionClosedError):  # told to stop meanwhile
                connection.wait_connected(settings.connect_seconds)

    def _tell_failure(self, done: "Future[None]") -> None:
        failure = done.exception()
        if failure is not None:
            self._handover.fail(failure)
            if self._stop_region is not None:
                self._stop_region("the coordinator below has failed")

    def _coordinate(self, given: VersionFromAbove) -> RunResult:
        """Run the rounds of one run."""
        settings = self._settings.below(given.message)
        event_buffer = EventBuffer(EVENT_BUFFER_BYTES)
        channel, connections = connect(settings, event_buffer, reread=self._reread)
        self._handover.wake = lambda: event_buffer.put_event(LOOK)
        with EventLog(settings.out, self._wall_clock) as event_log:
            return run_connected(
                lambda: self._assemble(given, settings, channel, event_buffer, event_log),
                settings,
                event_buffer,
                connections,
                on_ready=self._is_ready,
            )

    def _is_ready(self, stop: StopRegion) -> None:
        self._stop_run = stop
        if self._reason is not None:  # told before there was anything to stop
            stop(self._reason)

    def _assemble(
        self,
        given: VersionFromAbove,
        settings: CoordinatorSettings,
        channel: CoordinatorChannel,
        event_buffer: EventBuffer,
        event_log: EventLog,
    ) -> Coordinator:
        say = audited(settings, self._wall_clock, self._say)

        def tell(event: Event) -> None:
            self._observer.hear(event)
            event_log.take(event)
            say(event)

        limits = limits_for(
            given.tensors,
            least_chunk_bytes=min(LEAST_CHUNK_BYTES, settings.chunk_bytes),
            fixed=given.message.fixed is not None,
        )
        keep = difference_encoding(settings.encoding_down) is not None
        run, nothing = RegionalRun(given, settings.limits, keep=keep), Nothing()
        return wire(
            settings,
            run,
            store=RunStore(settings.out, limits, wall_clock=self._wall_clock),
            border=border_of(settings),
            limits=limits,
            evaluator=Evaluator(
                nothing,
                nothing.network(),
                form=ModelForm({}, frozenset()),
                deliver=event_buffer.put_event,
                best=settings.out / BEST,
            ),
            channel=channel,
            event_buffer=event_buffer,
            say=tell,
            observer=Observers(self._observer, event_log),
            unmasks=partial(SumOnItsWay, run, self._handover),
            announced=lambda _run, _settings: run.announcement(),
            make=partial(RegionalCoordinator, handover=self._handover),
        )
