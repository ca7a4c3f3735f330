"""Judges what arrives.

Counts updates or refuses them with a reason, and listens to who is there.
"""

import time
from collections import Counter
from collections.abc import Callable

import structlog

from coordinator.books import Books
from coordinator.desk import Desk
from coordinator.events import read_event
from coordinator.gatekeeper import Gatekeeper, Sender
from coordinator.identity import Identity
from coordinator.intake import Intake, ReceivedUpdate
from coordinator.observer import Observer
from coordinator.presence import Presence
from coordinator.refusals import Reason, Refusal
from coordinator.reports import Say
from coordinator.rules import OpenRound
from coordinator.training_run import TrainingRun
from schemas.chunks import ChunkPlace
from schemas.errors import MalformedMessageError
from schemas.messages import Goodbye, Hello, Message, Progress, UpdateRefused
from transport import Delivery

OUT_OF_REACH_SECONDS = 120.0
WELCOME_SECONDS = 0.5
"""A hello makes three calls to the broker; one who needs no answer yet says it again by itself."""

_NO_ANSWERS = {Reason.UNKNOWN_RUN, Reason.UNKNOWN_BASE, Reason.FLOOD}
"""Refusals that say nothing about the current version: its answer may still come."""

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
        answer: Callable[[str, Message], None],
        dead_letter: Callable[[Delivery, str], None],
        observer: Observer,
    ) -> None:
        """Fold what is accepted into `run`.

        `welcome` is called with the id of everybody who turns out to be here, `answer` sends a
        small message to one of them, `dead_letter` puts a malformed message aside.
        """
        self._run = run
        self._books = books
        self._desk = desk
        self._intake = intake
        self._identity = identity
        self._gatekeeper = Gatekeeper()
        self._presence = presence
        self._say = say
        self._welcome = welcome
        self._answer = answer
        self._dead_letter = dead_letter
        self._observer = observer
        self._answers: set[tuple[Sender, int]] = set()
        self._next_welcome: dict[str, float] = {}
        self._out_of_reach: set[str] = set()
        self.round: OpenRound | None = None
        self.refused: Counter[str] = Counter()
        """Refusals of the open round by reason."""
        self.bytes_up = 0
        """Bytes of the updates that came in during the open round."""
        self.num_folded = 0
        """Updates folded since the last commit."""

    def open(self, opened: OpenRound) -> None:
        """Count from now on toward this round."""
        self.round = opened
        self.refused = Counter()
        self.bytes_up = 0
        self._answers.clear()
        self._gatekeeper.open_round()

    def take_result(self, delivery: Delivery) -> None:
        """Take a chunk from the results queue; fold or refuse its update if that is whole now."""
        now = time.monotonic()
        try:
            place = self._intake.place(delivery)
            refusal = self._judge_outside(place, delivery)
            with self._observer.phase("decode"):
                received = None if refusal else self._intake.add(place, delivery, now)
        except MalformedMessageError as error:
            self._refuse_malformed(delivery, str(error))
            return
        if received is not None:
            self._presence.answered(received.update.participant, now)
            refusal = self._judge(received, delivery)
        elif refusal is None:
            self._presence.still_there(place.labels.participant, now)
        if self._is_counted(refusal, place):  # it waits for the commit that says so
            self._books.wait_for_commit(delivery, now)
        else:
            self._desk.acknowledge(delivery)

    def take_event(self, delivery: Delivery) -> None:
        """Take a hello, a progress report or a goodbye, and acknowledge it."""
        try:
            event = read_event(delivery)
        except MalformedMessageError as error:
            self._refuse_malformed(delivery, str(error))
            return
        participant = getattr(event, "participant", None)
        refusal = self._identity.refusal(delivery.user_id, participant)
        if refusal is not None:
            self._count_refusal(refusal.reason)
            if self._gatekeeper.may_complain((delivery.user_id or "", "")):
                self._note_refusal(delivery.user_id, participant, None, refusal)
        elif not self._listen(event):
            self._refuse_malformed(delivery, f"{event.KIND} is no event")
            return
        self._desk.acknowledge(delivery)

    def _judge_outside(self, place: ChunkPlace, delivery: Delivery) -> Refusal | None:
        """Refuse what its outside gives reason to, before it costs room on the disk."""
        labels = place.labels
        if None in (labels.run, labels.participant, labels.version, labels.examples):
            raise MalformedMessageError(
                "an update without run, participant, version and examples in its headers"
            )
        refusal = self._identity.refusal(delivery.user_id, labels.participant)
        if refusal is not None:  # nothing of it touches the one whose name it bears
            sender = (delivery.user_id or "", "")
            self._count_refusal(refusal.reason)
            if self._gatekeeper.may_complain(sender):
                self._note_refusal(delivery.user_id, labels.participant, labels.version, refusal)
            return refusal
        sender = _sender(delivery, place)
        is_first = self._gatekeeper.is_first_of(sender, place)
        refusal = self._gatekeeper.refusal(sender, place, redelivered=delivery.redelivered)
        if refusal is None:
            self._run.arrived(labels, place.whole.digest)
            refusal = self._run.judge_labels(labels, place.whole.digest)
        if refusal is not None and (is_first or not place.index or refusal.reason is Reason.FLOOD):
            self._refuse(sender, labels.version or 0, refusal)
        return refusal

    def _is_counted(self, refusal: Refusal | None, place: ChunkPlace) -> bool:
        if refusal is None or refusal.reason in {Reason.DUPLICATE, Reason.FLOOD}:
            return refusal is None or refusal.reason is Reason.DUPLICATE
        return self._run.releases.knows(place.labels.participant or "", place.whole.digest)

    def _judge(self, received: ReceivedUpdate, delivery: Delivery) -> Refusal | None:
        update = received.update
        refusal = self._run.judge(update, received.digest) or self._run.inspect(
            received.tensors, received.kinds
        )
        if refusal is None:
            self._fold(received)
            return None
        self._refuse((delivery.user_id or "", update.participant), update.base_version, refusal)
        if received.file is not None:
            self._books.spool.remove(received.file)
        return refusal

    def _fold(self, received: ReceivedUpdate) -> None:
        update = received.update
        with self._observer.phase("aggregate"):
            contribution = self._run.fold(update, received.tensors, received.digest)
        self._observer.folded(contribution.staleness)
        self.num_folded += 1
        self.bytes_up += received.num_bytes
        if self.round is not None:
            self.round.count(update.participant, staleness=contribution.staleness)
        if received.file is not None:
            self._books.folded(received.file)
        log.debug("update folded", participant=update.participant, base_version=update.base_version)

    def _refuse(self, sender: Sender, base_version: int, refusal: Refusal) -> None:
        login, participant = sender
        self._count_refusal(refusal.reason)
        is_answer = base_version == self._run.version and refusal.reason not in _NO_ANSWERS
        if self.round is not None and is_answer:
            self.round.answered.add(participant)  # nothing better will come for this version
        if refusal.reason is Reason.DUPLICATE and not refusal.detail:
            return
        if (sender, base_version) in self._answers:
            return  # one answer is enough: a flood of updates causes no flood of answers
        self._answers.add((sender, base_version))
        self._note_refusal(login, participant, base_version, refusal)
        self._answer(
            participant,
            UpdateRefused(
                run=self._run.run_id, base_version=base_version, reason=str(refusal)[:1024]
            ),
        )

    def _count_refusal(self, reason: Reason) -> None:
        self.refused[reason] += 1
        self._observer.refused(reason)

    def _note_refusal(
        self, login: str | None, participant: str | None, base_version: int | None, refusal: Refusal
    ) -> None:
        """Tell people, and write it into the history; senders have a fixed number of these."""
        fields = {
            "participant": participant,
            "login": login,
            "base_version": base_version,
            "reason": str(refusal),
        }
        self._books.history.append({"event": "refused", "run": self._run.run_id, **fields})
        self._say("update_refused" if base_version is not None else "event_refused", fields)

    def _refuse_malformed(self, delivery: Delivery, problem: str) -> None:
        self._count_refusal(Reason.MALFORMED)
        if not self._gatekeeper.may_complain((delivery.user_id or "", "")):
            self._desk.acknowledge(delivery)
            return
        self._say("message_refused", {"reason": problem, "sender": delivery.user_id or "unknown"})
        self._dead_letter(delivery, problem)

    def _listen(self, event: Message) -> bool:
        """Take what somebody says of itself; False if nobody says such a thing."""
        match event:
            case Hello():
                self._greet(event)
            case Progress():
                self._follow(event)
            case Goodbye():
                self._part(event)
            case _:
                return False
        return True

    def _greet(self, hello: Hello) -> None:
        now = time.monotonic()
        if not self._welcome_in_turn(hello.participant, now):
            if self._presence.left(hello.participant, hello.instance):
                self._say("participant_out_of_reach", {"participant": hello.participant})
            return
        is_new = hello.participant not in self._presence
        self._presence.heard(hello.participant, now).instance = hello.instance
        if is_new:
            self._say(
                "participant_joined",
                {
                    "participant": hello.participant,
                    "device": hello.device,
                    "examples": hello.num_examples,
                },
            )

    def _follow(self, progress: Progress) -> None:
        now = time.monotonic()
        is_new = progress.participant not in self._presence
        self._presence.heard(progress.participant, now).instance = progress.instance
        if is_new:  # it said hello to an earlier coordinator, or was silent for too long
            self._say("participant_joined", {"participant": progress.participant})
            self._welcome_in_turn(progress.participant, now)

    def _part(self, goodbye: Goodbye) -> None:
        if self._presence.left(goodbye.participant, goodbye.instance):
            fields = {"participant": goodbye.participant, "reason": goodbye.reason}
            self._say("participant_left", fields)

    def _welcome_in_turn(self, participant: str, now: float) -> bool:
        """Welcome everybody, but nobody so often that others have to wait for it.

        False if its queue is out of reach: then the round goes on without it.
        """
        if now >= self._next_welcome.get(participant, now):
            self._next_welcome[participant] = now + WELCOME_SECONDS
            if self._welcome(participant):
                self._out_of_reach.discard(participant)
            else:
                self._out_of_reach.add(participant)
                # Asking for its queue takes long while the node is down.
                self._next_welcome[participant] = now + OUT_OF_REACH_SECONDS
        return participant not in self._out_of_reach


def _sender(delivery: Delivery, place: ChunkPlace) -> Sender:
    return (delivery.user_id or "", place.labels.participant or "")
