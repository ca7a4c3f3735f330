"""The coordinator's one loop: it takes the next event, and does what is due."""

import math
from dataclasses import dataclass

from fanfold.coordinator.admission.admission import Admission
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.broker.recovery import Recovery
from fanfold.coordinator.broker.sending import Sent
from fanfold.coordinator.committer import Committer
from fanfold.coordinator.evaluation.evaluator import Evaluated
from fanfold.coordinator.reporter import Reporter
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.rounds.reports import Traffic
from fanfold.coordinator.upkeep import Upkeep
from fanfold.schemas.errors import TransportError
from fanfold.transport import Delivery, EventReader


@dataclass(frozen=True, slots=True)
class CloseRound:
    """Somebody asks for the open round to close as soon as its quorum is met."""


class EventLoop:
    """Gives each event to the part that it is for. Belongs to the coordinator's work thread."""

    def __init__(
        self,
        reader: EventReader,
        state: FederationState,
        *,
        recovery: Recovery,
        publisher: Publisher,
        admission: Admission,
        committer: Committer,
        reporter: Reporter,
        upkeep: Upkeep,
    ) -> None:
        """Begin with no round open."""
        self.reader = reader
        self._state = state
        self._recovery = recovery
        self._publisher = publisher
        self._admission = admission
        self._committer = committer
        self._reporter = reporter
        self._upkeep = upkeep
        self._full_since = math.inf

    def open_round(self, opened: OpenRound) -> None:
        """Count and look after this round from now on."""
        self._state.round = opened
        self._recovery.begin(opened)
        self._admission.open(opened, self.reader.now)

    def close_round(self, closed: OpenRound) -> Traffic:
        """Look after this round no longer; return what came and went in it."""
        self._state.round = None
        self._upkeep.close(closed, self.reader.now)
        return Traffic(
            bytes_down=self._publisher.take_bytes_down(),
            bytes_up=self._admission.tally.bytes_up,
            refused=self._admission.tally.refused,
        )

    def hold_closed_set(self) -> None:
        """Leave updates at the broker if an earlier coordinator closed the set of the round."""
        if self.must_unmask:
            self._admission.hold()

    @property
    def must_unmask(self) -> bool:
        """Whether the set of the open round is closed, and its masks are not known."""
        unmasking = self._admission.unmasking
        return unmasking is not None and unmasking.is_closed

    def unmask(self) -> None:
        """Learn the masks of a round from their keepers; meanwhile updates stay at the broker.

        Raises:
            KeepersRefusedError: if they do not tell.
            StoppedError: if somebody wants us to stop meanwhile; the next start asks again.
        """
        unmasking = self._admission.unmasking
        if unmasking is None:
            return
        unmasking.close_set()
        self._committer.commit()
        self._admission.hold()
        try:
            unmasking.begin(self.reader.now)
            while not unmasking.is_done:
                self.turn()
            unmasking.finish()
        finally:
            try:
                self._admission.go_on()
            except TransportError as error:
                self._recovery.broken_off(error)

    def turn(self) -> None:
        """Take the next event, and do what is due.

        Here alone a full disk and a lost connection are met: the disk is waited for, and then the
        same event is taken again; what a connection broke off is done again when it is back.

        Raises:
            StoppedError: if somebody wants us to stop.
            AllRefusedError: if the open round can never close.
        """
        event = self._next_event()
        began = self.reader.now
        while True:
            try:
                self._take(event)
            except OSError as error:
                self._committer.wait_for_room(error, since=began)
                continue
            except TransportError as error:
                self._recovery.broken_off(error)
            break
        self._recovery.tend()
        self._committer.commit_if_due(self.reader.now)
        self._upkeep.tend(self.reader.now)
        if self._admission.unmasking is not None:
            self._admission.unmasking.tend(self.reader.now)

    def _next_event(self) -> object | None:
        """Wait for the next event, or until something is due.

        A round that is full leaves updates to the next one while the version is on its way out, but
        no longer than a delivery may stay unacknowledged. Not so while the broker is short of room:
        what is folded and acknowledged gives it some.
        """
        now = self.reader.now
        is_sending = not self._publisher.is_idle and not self._recovery.is_blocked
        is_full = is_sending and self._state.is_full
        self._full_since = min(self._full_since, now) if is_full else math.inf
        full_until = self._full_since + self._committer.longest_wait_seconds
        leaves_deliveries = is_full and now < full_until
        return self.reader.read(
            min(
                self._committer.due_at,
                self._recovery.due_at,
                self._upkeep.due_at,
                self._admission.due_at,
                full_until if leaves_deliveries else math.inf,
            ),
            leave_deliveries=leaves_deliveries,
        )

    def _take(self, event: object) -> None:
        match event:
            case Delivery():
                self._admission.take(event, self.reader.now)
            case Evaluated():
                self._reporter.evaluated(event)
            case CloseRound():
                if self._state.round is not None:
                    self._state.round.close_early()
            case Sent():
                if not self._publisher.sent(event):
                    self._recovery.come_back()
            case _:
                self._recovery.notice(event)
