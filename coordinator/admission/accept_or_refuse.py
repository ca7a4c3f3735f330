"""Takes updates: folds what counts, and refuses the rest with a reason."""

import structlog

from fanfold.coordinator.admission.rate_limits import RateLimits, Sender, Verdict
from fanfold.coordinator.admission.refusal_answers import Rejections
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.admission.update_assembler import Assembler, RawUpdate, UselessUpdateError
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.pending_acks import Due
from fanfold.coordinator.rounds.presence import Presence
from fanfold.schemas.chunking import ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import Update
from fanfold.transport import Delivery, Subscription

_NO_ANSWERS = {Reason.UNKNOWN_RUN, Reason.UNKNOWN_BASE, Reason.FLOOD}
"""Refusals that say nothing about the current version: its answer may still come."""

log = structlog.get_logger()


class UpdateHandler:
    """Takes the chunks of updates one by one, in the order of their arrival.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: RunState,
        *,
        tally: Tally,
        assembler: Assembler,
        sender_check: SenderCheck,
        presence: Presence,
        rate_limits: RateLimits,
        rejections: Rejections,
        observer: Observer,
    ) -> None:
        """Fold what is accepted into `run`."""
        self._run = run
        self._tally = tally
        self._assembler = assembler
        self._sender_check = sender_check
        self._presence = presence
        self._rate_limits = rate_limits
        self._rejections = rejections
        self._observer = observer
        self._last: tuple[Subscription, int] | None = None

    def take(self, delivery: Delivery, now: float) -> Due:
        """Take a chunk from the results queue; fold or refuse its update if that is whole now.

        Args:
            delivery: what arrived.
            now: seconds of a monotonic clock.

        Returns:
            When the delivery is acknowledged.

        Raises:
            OSError: if the disk is full; the same delivery can be taken again.
        """
        try:
            header = self._header(delivery)
        except MalformedMessageError as error:
            is_believed = not self._sender_check.border.is_sealed  # what fails here, nobody signed
            return self._refuse_malformed(delivery, str(error), is_whole=is_believed)
        try:
            refusal = self._judge_outside(header, delivery, now)
            with self._observer.phase("decode"):
                received = None if refusal else self._assembler.add(header, delivery, now)
        except UselessUpdateError as error:
            problem = Refusal(Reason.MALFORMED, str(error))
            self._rate_limits.remember(_sender(delivery, header), header.whole.digest, problem)
            return self._refuse_malformed(delivery, str(error), is_whole=True)
        except MalformedMessageError as error:
            return self._refuse_malformed(delivery, str(error), is_whole=False)
        if received is not None:
            refusal = self._judge(received, _sender(delivery, header))
        return Due.AFTER_COMMIT if self._must_wait(refusal, header) else Due.NOW

    def _header(self, delivery: Delivery) -> ChunkHeader:
        """Read where a chunk belongs.

        Raises:
            MalformedMessageError: if it is no chunk of an update, or of one that is too large.
        """
        if delivery.kind != Update.KIND:
            raise MalformedMessageError(
                f"{str(delivery.kind)[:64]!r} is no message for the results queue"
            )
        return ChunkHeader.parse(
            kind=delivery.kind,
            headers=delivery.headers,
            body_length=len(delivery.body),
            limits=self._assembler.limits,
        )

    def _judge_outside(self, header: ChunkHeader, delivery: Delivery, now: float) -> Refusal | None:
        """Refuse what its outside gives reason to, before it costs room on the disk."""
        labels, digest = header.labels, header.whole.digest
        names = (labels.run, labels.participant, labels.version)
        if None in names or (labels.examples is None and header.seal is None):
            raise MalformedMessageError(
                "an update without run, participant, version and examples in its headers"
            )
        login, participant = delivery.user_id, labels.participant or ""
        impostor = self._sender_check.refusal(login, participant) or self._sender_check.forgery(
            header
        )
        if impostor is not None:
            self._rejections.refuse_impostor(login, participant, labels.version, impostor)
            return impostor
        self._presence.still_there(participant, now)
        outside = self._run.judge_labels(labels, digest)
        verdict = self._rate_limits.of_chunk(
            _sender(delivery, header),
            header,
            outside,
            instance=self._presence.instance(participant),
            counted_before=self._is_last(delivery) or delivery.redelivered,
        )
        if verdict.refusal is outside and self._run.arrived(labels, digest):
            self._tally.arrived(participant)
        self._refuse(_sender(delivery, header), labels.version or 0, verdict)
        return verdict.refusal

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
        if not self._tally.is_uncommitted(participant) or refusal.reason is Reason.FLOOD:
            return False
        return refusal.reason is Reason.DUPLICATE or self._run.privacy_ledger.knows(
            participant, header.whole.digest
        )

    def _judge(self, received: RawUpdate, sender: Sender) -> Refusal | None:
        """Fold an update that is whole, or refuse it."""
        update = received.update
        refusal = self._run.judge_document(update) or self._run.inspect(
            received.tensors, received.kinds, updates=update.updates, dtypes=received.dtypes
        )
        if refusal is None:
            self._fold(received)
            self._rate_limits.folded(sender, received.digest)
            return None
        verdict = self._rate_limits.of_update(
            sender,
            received.digest,
            update.base_version,
            refusal,
            instance=self._presence.instance(update.participant),
        )
        self._refuse(sender, update.base_version, verdict)
        self._assembler.discard(received)
        return refusal

    def _fold(self, received: RawUpdate) -> None:
        update = received.update
        with self._observer.phase("aggregate"):
            contribution = self._run.fold(update, received.tensors, received.digest)
        self._tally.folded(contribution, received.num_bytes)
        self._presence.versions.answered(
            update.participant, update.base_version, current=self._run.version
        )
        self._assembler.folded(received)
        log.debug("update folded", participant=update.participant, base_version=update.base_version)

    def _refuse(self, sender: Sender, base_version: int, verdict: Verdict) -> None:
        """Let the open round know of a refusal, and the sender as far as the verdict allows."""
        opened, refusal = self._tally.round, verdict.refusal
        if refusal is None or not verdict.is_counted:
            return
        if refusal.reason is not Reason.UNKNOWN_RUN:
            self._presence.versions.answered(sender[1], base_version, current=self._run.version)
        if opened is not None and base_version == self._run.version:
            if refusal.reason is Reason.DUPLICATE:
                opened.answered.add(sender[1])
            elif refusal.reason is not Reason.UNKNOWN_RUN:
                is_answer = refusal.reason not in _NO_ANSWERS
                opened.refuse(sender[1], str(refusal), is_answer=is_answer)
        self._rejections.refuse(sender, base_version, verdict, refusal)

    def _refuse_malformed(self, delivery: Delivery, problem: str, *, is_whole: bool) -> Due:
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
        if answer_of is not None and self._tally.round is not None:
            reason = str(Refusal(Reason.MALFORMED, problem))
            self._tally.round.refuse(answer_of, reason, is_answer=True)
        return self._rejections.refuse_malformed(delivery, problem, answer_of=answer_of)


def _sender(delivery: Delivery, header: ChunkHeader) -> Sender:
    return (delivery.user_id or "", header.labels.participant or "")
