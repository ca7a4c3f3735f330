"""What stands between the broker and a round: everything that decides whether a message counts."""

import math
import time
from collections.abc import Callable

from fanfold.coordinator.admission.accept_or_refuse import UpdateHandler
from fanfold.coordinator.admission.damaged_uploads import DamagedUploads
from fanfold.coordinator.admission.event_handler import EventHandler
from fanfold.coordinator.admission.newer_run import NewerRun
from fanfold.coordinator.admission.rate_limits import RateLimits
from fanfold.coordinator.admission.refusal_answers import Rejections
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.admission.update_assembler import Assembler
from fanfold.coordinator.admission.welcoming import Welcoming
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.federation_queues import FederationQueues
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.pending_acks import Due
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.unmasking.closed_set import ClosedSet
from fanfold.schemas.events.event import Say
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery


class Admission:
    """The coordinator's two readers, of updates and of events, and what they counted.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        *,
        updates: UpdateHandler,
        events: EventHandler,
        newer_run: NewerRun,
        tally: Tally,
        rate_limits: RateLimits,
        channel: CoordinatorChannel,
        store: RunStore,
        unmasking: ClosedSet | None,
    ) -> None:
        """Begin with no round open."""
        self.unmasking = unmasking
        self.updates = updates
        self.events = events
        self._newer_run = newer_run
        self.tally = tally
        self._rate_limits = rate_limits
        self._channel = channel
        self._store = store

    @property
    def due_at(self) -> float:
        """When keepers of masks are to be asked again."""
        return math.inf if self.unmasking is None else self.unmasking.due_at

    def open(self, opened: OpenRound, now: float) -> None:
        """Count from now on toward this round; `now` is of a monotonic clock."""
        self.tally.open(opened)
        self._rate_limits.open_round(now)

    def hold(self) -> None:
        """Leave updates at the broker until `go_on`."""
        self._channel.hold_results()

    def go_on(self) -> None:
        """Take updates again.

        Raises:
            TransportError: if that was broken off; who comes back takes them, too.
        """
        self._channel.take_results()

    def take(self, delivery: Delivery, now: float) -> None:
        """Take a part of an update, or what a participant says of itself, and acknowledge it.

        What it brought may have to wait for the next commit first.

        Raises:
            OSError: if the disk is full; the same delivery can be taken again.
            TransportError: if an answer was broken off.
        """
        if self._channel.is_masks(delivery):
            self._channel.acknowledge(delivery)  # what a crash loses of it is asked for again
            if self.unmasking is not None:
                self.unmasking.take(delivery, now)
            return
        is_result = self._channel.is_result(delivery)
        if is_result and self._channel.holds_results:
            return  # it went back to the broker, and comes again
        due = (self.updates if is_result else self.events).take(delivery, now)
        if not is_result:
            self._newer_run.hear(delivery)
        if due is Due.NOW:
            self._channel.acknowledge(delivery)
        elif due is Due.AFTER_COMMIT:
            self._store.pending_acks.wait(delivery, now)


def admission_for(
    run: RunState,
    *,
    store: RunStore,
    channel: CoordinatorChannel,
    publisher: Publisher,
    queues: FederationQueues,
    presence: Presence,
    limits: ReaderLimits,
    sender_check: SenderCheck,
    max_participants: int,
    unmasking: ClosedSet | None = None,
    say: Say,
    observer: Observer,
    clock: Callable[[], float] = time.monotonic,
) -> Admission:
    """Return the admission of a run; what is accepted is folded into it.

    Args:
        run: the run.
        store: keeps updates that are not whole yet, and the history.
        channel: acknowledges deliveries.
        publisher: sends answers and dead letters.
        queues: makes the queues of those who say hello.
        presence: is told who is there.
        limits: the largest update, in bytes.
        sender_check: who may speak for whom.
        max_participants: so many under one login.
        unmasking: takes what keepers say; None in a run without masks.
        say: tells people.
        observer: watches.
        clock: seconds of a monotonic clock.
    """
    tally = Tally(observer)
    rate_limits = RateLimits(max_participants=max_participants)
    rejections = Rejections(
        run,
        tally=tally,
        store=store,
        channel=channel,
        publisher=publisher,
        rate_limits=rate_limits,
        say=say,
    )
    damaged = DamagedUploads(run, store=store, publisher=publisher, say=say)
    updates = UpdateHandler(
        run,
        tally=tally,
        assembler=Assembler(
            store,
            limits,
            damaged=damaged.tell,
            border=sender_check.border,
            widens=not run.takes_narrow,
        ),
        sender_check=sender_check,
        presence=presence,
        rate_limits=rate_limits,
        rejections=rejections,
        observer=observer,
    )
    events = EventHandler(
        run,
        tally=tally,
        sender_check=sender_check,
        presence=presence,
        rate_limits=rate_limits,
        welcoming=Welcoming(queues, publisher=publisher, clock=clock),
        rejections=rejections,
        say=say,
    )
    return Admission(
        updates=updates,
        events=events,
        newer_run=NewerRun(run, epoch=lambda: store.epoch, sender_check=sender_check, say=say),
        tally=tally,
        rate_limits=rate_limits,
        channel=channel,
        store=store,
        unmasking=unmasking,
    )
