"""Who comes and goes, from what participants say of themselves."""

from fanfold.coordinator.admission.event_decoder import decode_event, event_header
from fanfold.coordinator.admission.rate_limits import RateLimits
from fanfold.coordinator.admission.refusal_answers import Rejections
from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.admission.welcoming import Welcoming
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.persistence.pending_acks import Due
from fanfold.coordinator.rounds.presence import Presence
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.events.coordinator import (
    ParticipantJoined,
    ParticipantLeft,
    ParticipantOutOfReach,
    ParticipantRefused,
)
from fanfold.schemas.events.event import Say
from fanfold.schemas.messages import Goodbye, Hello, Message, Progress
from fanfold.transport import Delivery


class EventHandler:
    """Takes hellos, progress reports and goodbyes. Belongs to the coordinator's work thread."""

    def __init__(
        self,
        run: RunState,
        *,
        tally: Tally,
        sender_check: SenderCheck,
        presence: Presence,
        rate_limits: RateLimits,
        welcoming: Welcoming,
        rejections: Rejections,
        say: Say,
    ) -> None:
        """Note in `presence` who is here, and in the open round of `tally` who left."""
        self._run = run
        self._tally = tally
        self._sender_check = sender_check
        self._presence = presence
        self._rate_limits = rate_limits
        self._welcoming = welcoming
        self._rejections = rejections
        self._say = say

    def take(self, delivery: Delivery, now: float) -> Due:
        """Take a delivery from the events queue.

        Args:
            delivery: what arrived.
            now: seconds of a monotonic clock.

        Returns:
            When the delivery is acknowledged.
        """
        login, border = delivery.user_id, self._sender_check.border
        try:
            header = event_header(delivery, border)
            refusal = self._sender_check.forgery(header)
            if refusal is not None:
                self._rejections.refuse_impostor(login, header.labels.participant, None, refusal)
                return Due.NOW
            event = decode_event(header, delivery.body, border)
        except MalformedMessageError as error:
            return self._rejections.refuse_malformed(delivery, str(error))
        participant = getattr(event, "participant", None)
        refusal = self._sender_check.refusal(login, participant)
        if refusal is None and header.seal is not None:
            if header.seal.serial == self._presence.serials.get(participant or ""):
                return Due.NOW  # delivered again, and taken before
            refusal = self._replayed(participant or "", header.seal.serial)
        was_here = participant in self._presence
        known_start = self._presence.instance(participant or "")
        if refusal is not None:
            self._rejections.refuse_impostor(login, participant, None, refusal)
        elif not self.listen(event, login or "", now):
            return self._rejections.refuse_malformed(delivery, f"{event.KIND} is no event")
        else:
            self._tell_round(event, known_start, was_here=was_here)
        return Due.NOW

    def _replayed(self, participant: str, serial: int) -> Refusal | None:
        """Say why a signed event is not obeyed once more: it is not newer than the last one."""
        if self._presence.is_news(participant, serial):
            return None
        return Refusal(
            Reason.WRONG_SENDER,
            "an event that was sent before, or a clock that was set back since; "
            "start the participant again once its clock is right",
        )

    def listen(self, event: Message, login: str, now: float) -> bool:
        """Take what somebody says of itself; False if nobody says such a thing."""
        match event:
            case Hello():
                self._greet(event, login, now)
            case Progress():
                self._follow(event, login, now)
            case Goodbye():
                self._part(event, login)
            case _:
                return False
        return True

    def _tell_round(self, event: Message, known_start: str | None, *, was_here: bool) -> None:
        """Let the open round know who left it, and who was started anew and lacks its version.

        Who was refused has to answer it again. Where messages are sealed, the start before may have
        dropped the version unread, for it pinned other keys: then nothing is in the queue.
        """
        opened = self._tally.round
        if opened is None:
            return
        if isinstance(event, Goodbye):
            answered = (event.run, event.version) == (self._run.run_id, self._run.version)
            opened.left(event.participant, has_answered=answered)
        elif isinstance(event, Hello) and event.instance != known_start:
            may_lack_it = was_here and self._sender_check.border.is_sealed
            if opened.ask_again(event.participant) or may_lack_it:
                self._welcoming.send_again(event.participant)

    def _greet(self, hello: Hello, login: str, now: float) -> None:
        participant = hello.participant
        is_new = participant not in self._presence
        if is_new and not self._lets_in(participant, login, now):
            return
        if not self._welcoming.can_reach(participant, now, is_consuming=hello.consuming):
            if self._presence.left(participant, hello.instance):
                self._tell(ParticipantOutOfReach(participant), login)
            return
        self._presence.heard(participant, now).said(hello)
        if is_new:
            joined = ParticipantJoined(participant, hello.device, examples=hello.num_examples)
            self._tell(joined, login)
        if hello.wants_whole:
            self._welcoming.send_again(participant)
        elif hello.consuming:
            self._welcoming.replace_lost(participant, held=hello.version)

    def _follow(self, progress: Progress, login: str, now: float) -> None:
        is_new = progress.participant not in self._presence
        if is_new and not self._lets_in(progress.participant, login, now):
            return
        self._presence.heard(progress.participant, now).said(progress)
        self._tally.progressed(progress)
        if progress.run == self._run.run_id and progress.phase == "waiting":
            self._presence.versions.answered(
                progress.participant, progress.version, current=self._run.version
            )
            self._welcoming.replace_lost(progress.participant, held=progress.version)
        if is_new:  # it said hello to an earlier coordinator, or was silent for too long
            self._tell(ParticipantJoined(progress.participant), login)
            self._welcoming.welcome(progress.participant, now)

    def _part(self, goodbye: Goodbye, login: str) -> None:
        if self._presence.left(goodbye.participant, goodbye.instance):
            self._tell(ParticipantLeft(goodbye.participant, goodbye.reason), login)

    def _tell(
        self,
        event: ParticipantJoined | ParticipantLeft | ParticipantRefused | ParticipantOutOfReach,
        login: str,
    ) -> None:
        """Tell people, unless one sender comes and goes without end."""
        if self._rate_limits.may_tell((login, event.participant)):
            self._say(event)

    def _lets_in(self, participant: str, login: str, now: float) -> bool:
        """Whether this one may take part: one login may bring in so many, each with a queue."""
        refusal = self._rate_limits.refusal_to_join((login, participant), now)
        if refusal is not None:
            self._tell(ParticipantRefused(participant, login, reason=str(refusal)), login)
        return refusal is None
