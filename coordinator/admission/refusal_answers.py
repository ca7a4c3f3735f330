"""What becomes of messages that are refused: counted, told, answered, put aside."""

from fanfold.coordinator.admission.rate_limits import RateLimits, Sender, Verdict
from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.aggregation.refusals import OF_CONTENT, Reason, Refusal
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.persistence.pending_acks import Due
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas import messages
from fanfold.schemas.events.coordinator import EventRefused, UpdateRefused
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.shared import MessageRefused
from fanfold.transport import Delivery


class Rejections:
    """Counts every refusal, and spends on each sender no more than the rate limits allow.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: RunState,
        *,
        tally: Tally,
        store: RunStore,
        channel: CoordinatorChannel,
        publisher: Publisher,
        rate_limits: RateLimits,
        say: Say,
    ) -> None:
        """Write into the history of `store`, and answer through `publisher`."""
        self._run = run
        self._tally = tally
        self._store = store
        self._channel = channel
        self._publisher = publisher
        self._rate_limits = rate_limits
        self._say = say

    def refuse(self, sender: Sender, base_version: int, verdict: Verdict, refusal: Refusal) -> None:
        """Refuse an update of somebody who is known by name, as far as the verdict allows."""
        self._tally.refused_for(refusal.reason)
        login, participant = sender
        if verdict.may_note:
            self._note(login, participant, base_version, refusal)
        if verdict.may_answer:
            self._tell(participant, base_version, refusal)

    def refuse_impostor(
        self, login: str | None, participant: str | None, base_version: int | None, refusal: Refusal
    ) -> None:
        """Refuse what speaks for another than its login; nothing of it touches that other one."""
        self._tally.refused_for(refusal.reason)
        verdict = self._rate_limits.of_mistake(login, refusal, can_answer=self._is_known(login))
        if verdict.may_note:
            self._note(login, participant, base_version, refusal)
        if verdict.may_answer:
            self._tell_login(login, refusal)

    def refuse_malformed(
        self, delivery: Delivery, problem: str, *, answer_of: str | None = None
    ) -> Due:
        """Refuse what is no message for us, and put it aside for a person to look at.

        Args:
            delivery: the message.
            problem: what is wrong with it, in words.
            answer_of: a participant that has nothing better to answer the open version with.

        Returns:
            When the message is acknowledged.
        """
        login, refusal = delivery.user_id, Refusal(Reason.MALFORMED, problem)
        self._tally.refused_for(refusal.reason)
        can_answer = answer_of is None and self._is_known(login)
        verdict = self._rate_limits.of_mistake(login, refusal, can_answer=can_answer)
        if not verdict.may_note:
            return Due.NOW
        self._say(MessageRefused(problem, sender=login or "unknown"))
        if answer_of is not None:
            self._tell(answer_of, self._run.version, refusal)
        elif verdict.may_answer:
            self._tell_login(login, refusal)
        self._publisher.dead_letter(delivery, problem)
        return Due.ONCE_KEPT

    def _is_known(self, login: str | None) -> bool:
        """Whether there is a queue in the name of this login."""
        return login in self._channel.participants.known

    def _note(
        self, login: str | None, participant: str | None, base_version: int | None, refusal: Refusal
    ) -> None:
        """Tell people, and write it into the history."""
        said: UpdateRefused | EventRefused
        if base_version is None:
            said = EventRefused(participant, login, base_version, reason=str(refusal))
        else:
            said = UpdateRefused(participant, login, base_version, reason=str(refusal))
        record = said.document() | {"event": "refused", "run": self._run.run_id}
        self._store.history.append(record)
        self._say(said)

    def _tell_login(self, login: str | None, refusal: Refusal) -> None:
        """Tell the one the broker names: no participant's name is proved."""
        self._tell(login or "", self._run.version, refusal, may_try_again=False)

    def _tell(
        self,
        participant: str,
        base_version: int,
        refusal: Refusal,
        *,
        may_try_again: bool = True,
    ) -> None:
        """Say what was refused, and whether another update on that version could still count.

        Never so in a private run: noise is drawn once for each version.
        """
        is_open = base_version == self._run.version and self._run.privacy is None
        answer = messages.UpdateRefused(
            run=self._run.run_id,
            base_version=base_version,
            reason=str(refusal)[:1024],
            again=may_try_again and is_open and refusal.reason in OF_CONTENT,
            fault=refusal.fault,
        )
        self._publisher.announce(answer, to=participant)
