"""Judges what arrives.

Counts updates or refuses them with a reason, and listens to who is there.
"""

import time
from collections.abc import Callable

import structlog

from fanfold.coordinator.admission.event_decoder import read_event
from fanfold.coordinator.admission.event_handler import EventHandler
from fanfold.coordinator.admission.rate_limits import RateLimits, Sender
from fanfold.coordinator.admission.rejections import Rejections
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.admission.update_assembler import Assembler, RawUpdate, UselessUpdateError
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.policy import OpenRound
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.reports import Say
from fanfold.schemas.chunking import ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import Goodbye, Hello, Message
from fanfold.transport import Delivery, Subscription

_NO_ANSWERS = {Reason.UNKNOWN_RUN, Reason.UNKNOWN_BASE, Reason.FLOOD}
"""Refusals that say nothing about the current version: its answer may still come."""
_ABOUT_TENSORS = {Reason.INCOMPATIBLE, Reason.NON_FINITE, Reason.TOO_LARGE}
"""Refusals that took a look at every value, and would again."""
_ABOUT_TIME = {Reason.STALE, Reason.UNKNOWN_RUN}
"""Refusals that an honest sender gets for being slow."""

log = structlog.get_logger()


class UpdateHandler:
    """Takes deliveries one by one, in the order of their arrival.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: RunState,
        *,
        store: RunStore,
        channel: CoordinatorChannel,
        assembler: Assembler,
        sender_check: SenderCheck,
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
        self._store = store
        self._channel = channel
        self._assembler = assembler
        self._sender_check = sender_check
        self._rate_limits = RateLimits(max_participants=max_participants)
        self._try_again = try_again
        self._rejections = Rejections(
            run,
            store=store,
            channel=channel,
            rate_limits=self._rate_limits,
            say=say,
            answer=answer,
            dead_letter=dead_letter,
            observer=observer,
        )
        self._event_handler = EventHandler(
            presence,
            rate_limits=self._rate_limits,
            say=say,
            is_known=lambda participant: participant in channel.known,
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
        return dict(self._rejections.refused)

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
        self._rejections.refused.clear()
        self.bytes_up = 0
        self._rate_limits.open_round(time.monotonic())

    def take_result(self, delivery: Delivery) -> None:
        """Take a chunk from the results queue; fold or refuse its update if that is whole now.

        Raises:
            OSError: if the disk is full; the same delivery can be taken again.
        """
        now = time.monotonic()
        try:
            header = self._assembler.header(delivery)
        except MalformedMessageError as error:
            self._refuse_malformed(delivery, str(error), is_whole=True)
            return
        try:
            refusal = self._judge_outside(header, delivery)
            with self._observer.phase("decode"):
                received = None if refusal else self._assembler.add(header, delivery, now)
        except UselessUpdateError as error:
            problem = Refusal(Reason.MALFORMED, str(error))
            self._rate_limits.remember(_sender(delivery, header), header.whole.digest, problem)
            self._refuse_malformed(delivery, str(error), is_whole=True)
            return
        except MalformedMessageError as error:
            self._refuse_malformed(delivery, str(error), is_whole=False)
            return
        if received is not None:
            refusal = self._judge(received, delivery)
        if self._must_wait(refusal, header):
            self._store.pending_acks.wait(delivery, now)
        else:
            self._channel.acknowledge(delivery)

    def take_event(self, delivery: Delivery) -> None:
        """Take a hello, a progress report or a goodbye, and acknowledge it."""
        try:
            event = read_event(delivery)
        except MalformedMessageError as error:
            self._rejections.refuse_malformed(delivery, str(error))
            return
        login, participant = delivery.user_id, getattr(event, "participant", None)
        refusal = self._sender_check.refusal(login, participant)
        known_start = self._presence.instance(participant or "")
        if refusal is not None:
            self._rejections.refuse_impostor(login, participant, None, refusal)
        elif not self._event_handler.listen(event, login or ""):
            self._rejections.refuse_malformed(delivery, f"{event.KIND} is no event")
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
        self._channel.acknowledge(delivery)

    def _judge_outside(self, header: ChunkHeader, delivery: Delivery) -> Refusal | None:
        """Refuse what its outside gives reason to, before it costs room on the disk."""
        labels = header.labels
        if None in (labels.run, labels.participant, labels.version, labels.examples):
            raise MalformedMessageError(
                "an update without run, participant, version and examples in its headers"
            )
        login, participant = delivery.user_id, labels.participant or ""
        refusal = self._sender_check.refusal(login, participant)
        if refusal is not None:
            self._rejections.refuse_impostor(login, participant, labels.version, refusal)
            return refusal
        self._presence.still_there(participant, time.monotonic())
        sender, digest = _sender(delivery, header), header.whole.digest
        is_first = self._rate_limits.is_first_of(sender, header)
        refusal = self._rate_limits.refusal(
            sender, header, counted_before=self._is_last(delivery) or delivery.redelivered
        )
        if refusal is None:
            if self._run.arrived(labels, digest):
                self._uncommitted.add(participant)
            refusal = self._run.judge_labels(labels, digest)
            if refusal is not None and refusal.reason in _ABOUT_TIME:
                self._rate_limits.late(sender, digest)
        if refusal is not None and (is_first or not header.index or refusal.reason is Reason.FLOOD):
            self._refuse(sender, labels.version or 0, refusal)
        return refusal

    def _is_last(self, delivery: Delivery) -> bool:
        """Whether this is the delivery that was taken last: it comes again while the disk is full.

        A flood of one's own making is none.
        """
        name = (delivery.subscription, delivery.tag)
        self._last, last = name, self._last
        return name == last

    def _must_wait(self, refusal: Refusal | None, header: ChunkHeader) -> bool:
        """Whether a delivery waits for the commit that holds what it brought, or brought before."""
        if refusal is None:
            return True
        participant = header.labels.participant or ""
        if participant not in self._uncommitted or refusal.reason is Reason.FLOOD:
            return False
        return refusal.reason is Reason.DUPLICATE or self._run.privacy_ledger.knows(
            participant, header.whole.digest
        )

    def _judge(self, received: RawUpdate, delivery: Delivery) -> Refusal | None:
        update = received.update
        refusal = self._run.judge(update, received.digest) or self._run.inspect(
            received.tensors, received.kinds
        )
        sender = (delivery.user_id or "", update.participant)
        if refusal is None:
            self._fold(received)
            self._rate_limits.folded(sender, received.digest)
            return None
        if refusal.reason in _ABOUT_TENSORS:
            self._rate_limits.remember(sender, received.digest, refusal)
        self._refuse(sender, update.base_version, refusal)
        if received.file is not None:
            self._store.spool.remove(received.file)
        return refusal

    def _fold(self, received: RawUpdate) -> None:
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
            self._store.folded(received.file)
        log.debug("update folded", participant=update.participant, base_version=update.base_version)

    def _refuse(self, sender: Sender, base_version: int, refusal: Refusal) -> None:
        if self.round is not None and base_version == self._run.version:
            if refusal.reason is Reason.DUPLICATE:
                self.round.answered.add(sender[1])
            elif refusal.reason is not Reason.UNKNOWN_RUN:
                is_answer = refusal.reason not in _NO_ANSWERS
                self.round.refuse(sender[1], str(refusal), is_answer=is_answer)
        self._rejections.refuse(
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
            and self._sender_check.refusal(delivery.user_id, participant) is None
        ):
            answer_of = participant
        if answer_of is not None and self.round is not None:
            reason = str(Refusal(Reason.MALFORMED, problem))
            self.round.refuse(answer_of, reason, is_answer=True)
        self._rejections.refuse_malformed(delivery, problem, answer_of=answer_of)


def _sender(delivery: Delivery, header: ChunkHeader) -> Sender:
    return (delivery.user_id or "", header.labels.participant or "")
