"""What becomes of messages that are refused: counted, told, answered, put aside."""

from collections import Counter
from collections.abc import Callable

from fanfold.coordinator.admission.rate_limits import RateLimits, Sender
from fanfold.coordinator.aggregation.refusals import OF_CONTENT, Reason, Refusal
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.reports import Say
from fanfold.schemas.messages import Message, UpdateRefused
from fanfold.transport import Delivery


class Rejections:
    """Counts every refusal, and spends on each sender no more than the gatekeeper allows.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: RunState,
        *,
        store: RunStore,
        channel: CoordinatorChannel,
        rate_limits: RateLimits,
        say: Say,
        answer: Callable[[str, Message], None],
        dead_letter: Callable[[Delivery, str], None],
        observer: Observer,
    ) -> None:
        """Take the same parts as `UpdateHandler`."""
        self._run = run
        self._store = store
        self._channel = channel
        self._rate_limits = rate_limits
        self._say = say
        self._answer = answer
        self._dead_letter = dead_letter
        self._observer = observer
        self.refused: Counter[str] = Counter()
        """Refusals of the open round by reason."""

    def refuse(
        self, sender: Sender, base_version: int, refusal: Refusal, *, instance: str | None = None
    ) -> None:
        """Refuse an update of somebody who is known by name; each start of it is told anew."""
        self._count(refusal.reason)
        if refusal.reason is Reason.DUPLICATE and not refusal.detail:
            return
        # One answer to a flood is enough, whatever versions it names.
        about = Reason.FLOOD if refusal.reason is Reason.FLOOD else (base_version, instance)
        if self._rate_limits.may_answer(sender, about):
            login, participant = sender
            self._note(login, participant, base_version, refusal)
            self._tell(participant, base_version, refusal)

    def refuse_impostor(
        self, login: str | None, participant: str | None, base_version: int | None, refusal: Refusal
    ) -> None:
        """Refuse what speaks for another than its login; nothing of it touches that other one."""
        self._count(refusal.reason)
        if self._rate_limits.may_complain((login or "", "")):
            self._note(login, participant, base_version, refusal)
        self._tell_login(login, refusal)

    def refuse_malformed(
        self, delivery: Delivery, problem: str, *, answer_of: str | None = None
    ) -> None:
        """Refuse what is no message for us, and put it aside for a person to look at.

        `answer_of` names a participant that has nothing better to answer the open version with.
        """
        login = delivery.user_id
        self._count(Reason.MALFORMED)
        if not self._rate_limits.may_complain((login or "", "")):
            self._channel.acknowledge(delivery)
            return
        self._say("message_refused", {"reason": problem, "sender": login or "unknown"})
        refusal = Refusal(Reason.MALFORMED, problem)
        if answer_of is None:
            self._tell_login(login, refusal)
        else:
            self._tell(answer_of, self._run.version, refusal)
        self._dead_letter(delivery, problem)

    def _count(self, reason: Reason) -> None:
        self.refused[reason] += 1
        self._observer.refused(reason)

    def _note(
        self, login: str | None, participant: str | None, base_version: int | None, refusal: Refusal
    ) -> None:
        """Tell people, and write it into the history."""
        fields = {
            "participant": participant,
            "login": login,
            "base_version": base_version,
            "reason": str(refusal),
        }
        self._store.history.append({"event": "refused", "run": self._run.run_id, **fields})
        self._say("update_refused" if base_version is not None else "event_refused", fields)

    def _tell_login(self, login: str | None, refusal: Refusal) -> None:
        """Tell the one the broker names, where there is a queue of that name: no name is proved."""
        if login in self._channel.known and self._rate_limits.may_answer((login, ""), str(refusal)):
            self._tell(login, self._run.version, refusal, may_try_again=False)

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
        self._answer(
            participant,
            UpdateRefused(
                run=self._run.run_id,
                base_version=base_version,
                reason=str(refusal)[:1024],
                again=may_try_again and is_open and refusal.reason in OF_CONTENT,
                fault=refusal.fault,
            ),
        )
