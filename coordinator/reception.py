"""Judges what arrives.

Counts updates or refuses them with a reason, and listens to who is there.
"""

import time
from collections.abc import Callable

import structlog

from coordinator.attendance import Attendance
from coordinator.books import Books
from coordinator.complaints import Complaints
from coordinator.desk import Desk
from coordinator.events import read_event
from coordinator.gatekeeper import Gatekeeper, Sender
from coordinator.identity import Identity
from coordinator.intake import Intake, ReceivedUpdate, UselessUpdateError
from coordinator.observer import Observer
from coordinator.presence import Presence
from coordinator.refusals import Reason, Refusal
from coordinator.reports import Say
from coordinator.rules import OpenRound
from coordinator.training_run import TrainingRun
from schemas.chunks import ChunkPlace
from schemas.errors import MalformedMessageError
from schemas.messages import Goodbye, Hello, Message
from transport import Delivery, Subscription

_NO_ANSWERS = {Reason.UNKNOWN_RUN, Reason.UNKNOWN_BASE, Reason.FLOOD}
"""Refusals that say nothing about the current version: its answer may still come."""
_ABOUT_TENSORS = {Reason.INCOMPATIBLE, Reason.NON_FINITE, Reason.TOO_LARGE}
"""Refusals that took a look at every value, and would again."""
_ABOUT_TIME = {Reason.STALE, Reason.UNKNOWN_RUN}
"""Refusals that an honest sender gets for being slow."""

log = structlog.get_logger()


class Reception:
    """Takes deliveries one by one, in the order of their arrival.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: TrainingRun,
        *,
        books: Books,
        desk: Desk,
        intake: Intake,
        identity: Identity,
        presence: Presence,
        say: Say,
        welcome: Callable[[str], bool],
        try_again: Callable[[str], None],
        max_participants: int,
        answer: Callable[[str, Message], None],
        dead_letter: Callable[[Delivery, str], None],
        observer: Observer,
    ) -> None:
        """Fold what is accepted into `run`.

        `welcome` is called with the id of everybody who turns out to be here, `try_again` with
        that of one who was started anew after its answer was refused; `answer` sends a small
        message to one of them, `dead_letter` puts a malformed message aside.
        """
        self._run = run
        self._books = books
        self._desk = desk
        self._intake = intake
        self._identity = identity
        self._gatekeeper = Gatekeeper(max_participants=max_participants)
        self._try_again = try_again
        self._complaints = Complaints(
            run,
            books=books,
            desk=desk,
            gatekeeper=self._gatekeeper,
            say=say,
            answer=answer,
            dead_letter=dead_letter,
            observer=observer,
        )
        self._attendance = Attendance(
            presence,
            gatekeeper=self._gatekeeper,
            say=say,
            is_known=lambda participant: participant in desk.known,
            welcome=welcome,
        )
        self._presence = presence
        self._observer = observer
        self._last: tuple[Subscription, int] | None = None
        self._uncommitted: set[str] = set()
        """Of whom something was counted since the last commit."""
        self.round: OpenRound | None = None
        self.bytes_up = 0
        """Bytes of the updates that came in during the open round."""
        self.num_folded = 0
        """Updates folded since the last commit."""

    @property
    def refused(self) -> dict[str, int]:
        """Refusals of the open round by reason."""
        return dict(self._complaints.refused)

    @property
    def has_news(self) -> bool:
        """Whether anything was counted since the last commit."""
        return bool(self._uncommitted)

    def committed(self) -> None:
        """Take note that the checkpoint holds everything that was counted."""
        self.num_folded = 0
        self._uncommitted.clear()

    def open(self, opened: OpenRound) -> None:
        """Count from now on toward this round."""
        self.round = opened
        self._complaints.refused.clear()
        self.bytes_up = 0
        self._gatekeeper.open_round(time.monotonic())

    def take_result(self, delivery: Delivery) -> None:
        """Take a chunk from the results queue; fold or refuse its update if that is whole now.

        Raises:
            OSError: if the disk is full; the same delivery can be taken again.
        """
        now = time.monotonic()
        try:
            place = self._intake.place(delivery)
        except MalformedMessageError as error:
            self._refuse_malformed(delivery, str(error), is_whole=True)
            return
        try:
            refusal = self._judge_outside(place, delivery)
            with self._observer.phase("decode"):
                received = None if refusal else self._intake.add(place, delivery, now)
        except UselessUpdateError as error:
            problem = Refusal(Reason.MALFORMED, str(error))
            self._gatekeeper.remember(_sender(delivery, place), place.whole.digest, problem)
            self._refuse_malformed(delivery, str(error), is_whole=True)
            return
        except MalformedMessageError as error:
            self._refuse_malformed(delivery, str(error), is_whole=False)
            return
        if received is not None:
            refusal = self._judge(received, delivery)
        if self._must_wait(refusal, place):
            self._books.unacknowledged.wait(delivery, now)
        else:
            self._desk.acknowledge(delivery)

    def take_event(self, delivery: Delivery) -> None:
        """Take a hello, a progress report or a goodbye, and acknowledge it."""
        try:
            event = read_event(delivery)
        except MalformedMessageError as error:
            self._complaints.refuse_malformed(delivery, str(error))
            return
        login, participant = delivery.user_id, getattr(event, "participant", None)
        refusal = self._identity.refusal(login, participant)
        known_start = self._presence.instance(participant or "")
        if refusal is not None:
            self._complaints.refuse_impostor(login, participant, None, refusal)
        elif not self._attendance.listen(event, login or ""):
            self._complaints.refuse_malformed(delivery, f"{event.KIND} is no event")
            return
        elif isinstance(event, Goodbye) and self.round is not None:
            answered = (event.run, event.version) == (self._run.run_id, self._run.version)
            self.round.left(event.participant, has_answered=answered)
        elif (
            isinstance(event, Hello)
            and event.instance != known_start
            and self.round is not None
            and self.round.ask_again(event.participant)
        ):
            self._try_again(event.participant)
        self._desk.acknowledge(delivery)

    def _judge_outside(self, place: ChunkPlace, delivery: Delivery) -> Refusal | None:
        """Refuse what its outside gives reason to, before it costs room on the disk."""
        labels = place.labels
        if None in (labels.run, labels.participant, labels.version, labels.examples):
            raise MalformedMessageError(
                "an update without run, participant, version and examples in its headers"
            )
        login, participant = delivery.user_id, labels.participant or ""
        refusal = self._identity.refusal(login, participant)
        if refusal is not None:
            self._complaints.refuse_impostor(login, participant, labels.version, refusal)
            return refusal
        self._presence.still_there(participant, time.monotonic())
        sender, digest = _sender(delivery, place), place.whole.digest
        is_first = self._gatekeeper.is_first_of(sender, place)
        refusal = self._gatekeeper.refusal(
            sender, place, counted_before=self._is_last(delivery) or delivery.redelivered
        )
        if refusal is None:
            if self._run.arrived(labels, digest):
                self._uncommitted.add(participant)
            refusal = self._run.judge_labels(labels, digest)
            if refusal is not None and refusal.reason in _ABOUT_TIME:
                self._gatekeeper.late(sender, digest)
        if refusal is not None and (is_first or not place.index or refusal.reason is Reason.FLOOD):
            self._refuse(sender, labels.version or 0, refusal)
        return refusal

    def _is_last(self, delivery: Delivery) -> bool:
        """Whether this is the delivery that was taken last: it comes again while the disk is full.

        A flood of one's own making is none.
        """
        name = (delivery.subscription, delivery.tag)
        self._last, last = name, self._last
        return name == last

    def _must_wait(self, refusal: Refusal | None, place: ChunkPlace) -> bool:
        """Whether a delivery waits for the commit that holds what it brought, or brought before."""
        if refusal is None:
            return True
        participant = place.labels.participant or ""
        if participant not in self._uncommitted or refusal.reason is Reason.FLOOD:
            return False
        return refusal.reason is Reason.DUPLICATE or self._run.releases.knows(
            participant, place.whole.digest
        )

    def _judge(self, received: ReceivedUpdate, delivery: Delivery) -> Refusal | None:
        update = received.update
        refusal = self._run.judge(update, received.digest) or self._run.inspect(
            received.tensors, received.kinds
        )
        sender = (delivery.user_id or "", update.participant)
        if refusal is None:
            self._fold(received)
            self._gatekeeper.folded(sender, received.digest)
            return None
        if refusal.reason in _ABOUT_TENSORS:
            self._gatekeeper.remember(sender, received.digest, refusal)
        self._refuse(sender, update.base_version, refusal)
        if received.file is not None:
            self._books.spool.remove(received.file)
        return refusal

    def _fold(self, received: ReceivedUpdate) -> None:
        update = received.update
        with self._observer.phase("aggregate"):
            contribution = self._run.fold(update, received.tensors, received.digest)
        self._observer.folded(contribution.staleness)
        self.num_folded += 1
        self._uncommitted.add(update.participant)
        self.bytes_up += received.num_bytes
        if self.round is not None:
            self.round.count(update.participant, staleness=contribution.staleness)
        if received.file is not None:
            self._books.folded(received.file)
        log.debug("update folded", participant=update.participant, base_version=update.base_version)

    def _refuse(self, sender: Sender, base_version: int, refusal: Refusal) -> None:
        if self.round is not None and base_version == self._run.version:
            if refusal.reason is Reason.DUPLICATE:
                self.round.answered.add(sender[1])
            elif refusal.reason is not Reason.UNKNOWN_RUN:
                is_answer = refusal.reason not in _NO_ANSWERS
                self.round.refuse(sender[1], str(refusal), is_answer=is_answer)
        self._complaints.refuse(
            sender, base_version, refusal, instance=self._presence.instance(sender[1])
        )

    def _refuse_malformed(self, delivery: Delivery, problem: str, *, is_whole: bool) -> None:
        """Put aside what is no update of ours.

        `is_whole` says whether its sender has no better answer: it is the whole update that is
        wrong, or what its headers say of it, and not a part that was damaged on the way.
        """
        run, version, participant = (
            delivery.headers.get(name) for name in ("run", "version", "participant")
        )
        answer_of = None
        if (
            is_whole
            and isinstance(participant, str)
            and participant in self._presence
            and (run, version) == (self._run.run_id, self._run.version)
            and self._identity.refusal(delivery.user_id, participant) is None
        ):
            answer_of = participant
        if answer_of is not None and self.round is not None:
            reason = str(Refusal(Reason.MALFORMED, problem))
            self.round.refuse(answer_of, reason, is_answer=True)
        self._complaints.refuse_malformed(delivery, problem, answer_of=answer_of)


def _sender(delivery: Delivery, place: ChunkPlace) -> Sender:
    return (delivery.user_id or "", place.labels.participant or "")
