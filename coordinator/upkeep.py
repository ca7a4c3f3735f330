"""What an open round needs while it waits: reminders, others for who is gone, perhaps an end."""

import math
from collections.abc import Set as AbstractSet

from fanfold.coordinator.aggregation.refusals import in_words
from fanfold.coordinator.broker.federation_queues import FederationQueues
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.broker.recovery import Recovery
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.schemas.errors import FanfoldError
from fanfold.schemas.events.coordinator import (
    AllRefused,
    ParticipantSilent,
    ParticipantsLeftOut,
    Waiting,
)
from fanfold.schemas.events.event import Say

NEW_TRY_SECONDS = 30.0
"""Where all who are present were refused: so long others may come, or these start anew."""


class AllRefusedError(FanfoldError):
    """Raised when a round can never close, because everybody's update was refused."""


class Upkeep:
    """Looks after the members of a round: those present who were to get its version.

    Belongs to the coordinator's work thread. `now` is of a monotonic clock.
    """

    def __init__(
        self,
        state: FederationState,
        *,
        queues: FederationQueues,
        publisher: Publisher,
        recovery: Recovery,
        say: Say,
        waits_when_all_refused: bool,
    ) -> None:
        """Begin with no round open."""
        self._state = state
        self._queues = queues
        self._publisher = publisher
        self._recovery = recovery
        self._say = say
        self._waits = waits_when_all_refused
        self._all_were_refused = False
        self._give_up_at = math.inf
        self._left_out: frozenset[str] = frozenset()

    @property
    def due_at(self) -> float:
        """When `tend` has something to do."""
        opened = self._state.round
        return math.inf if opened is None else min(opened.next_reminder, self._give_up_at)

    def tend(self, now: float) -> None:
        """Do what is due.

        Raises:
            AllRefusedError: if nobody has anything better to send.
        """
        opened = self._state.round
        if opened is None:
            return
        if not (opened.policy.only_fresh_count or self._state.is_full):
            self._publisher.send_to_who_waits(self._state.holds_base)
        if self._state.sampling.is_deserted(self._state.presence.names | opened.under_way):
            self._draw_others(opened, self._state.presence.names)
        if now >= opened.next_reminder:
            opened.reminded(now)
            if opened.counted < opened.policy.quorum:
                self._remind(opened, now)
                opened.missed(now)
        self._weigh_refusals(opened, now)

    def close(self, closed: OpenRound, now: float) -> None:
        """Say who was left out, and wait no longer for who was silent at the deadline.

        A queue that is unbound is bound again by then: its owner, alive and idle, hears nothing.
        """
        self._give_up_at, self._all_were_refused = math.inf, False
        self._tell_left_out(closed)
        if now < closed.deadline:
            return
        idle = self._state.owing(closed) - self._state.at_work(now)
        self._recovery.declare_again(sorted(idle))
        self._drop_the_silent(closed, now)

    def _remind(self, opened: OpenRound, now: float) -> None:
        """Report that the deadline passed without the quorum, and send the version again.

        Not to those that have reported recently that they train on it.
        """
        self._recovery.declare_again(sorted(self._state.owing(opened)))
        self._drop_the_silent(opened, now)
        self._widen(opened, self._state.presence.names | opened.answered)
        owing = self._state.owing(opened)
        self._say(
            Waiting(
                for_=f"{opened.policy.quorum} updates",
                present=len(self._state.presence),
                round=opened.number,
                updates=opened.counted,
                refused=_reasons(opened),
            )
        )
        self._publisher.remind(sorted(owing - self._state.at_work(now)))

    def _drop_the_silent(self, late: OpenRound, now: float) -> None:
        silent = self._state.presence.silent(now, since=late.silence_since) - late.answered
        self._state.presence.drop(silent)
        for participant in sorted(silent):
            self._say(ParticipantSilent(participant, round=late.number))
        self._queues.forget_the_gone()

    def _weigh_refusals(self, opened: OpenRound, now: float) -> None:
        """Where all were refused draw others, or say so at once and give a new try some time."""
        is_open = opened.deadline < math.inf
        if not is_open or not opened.is_refused_by_all(self._state.members):
            self._give_up_at, self._all_were_refused = math.inf, False
            return
        if self._draw_others(opened, self._state.presence.names - opened.refused.keys()):
            return
        if not self._all_were_refused:
            self._all_were_refused = True
            seconds = min(NEW_TRY_SECONDS, opened.policy.deadline_seconds)
            if not self._waits:
                self._give_up_at = now + seconds
            waits = "" if self._waits else f" for {seconds:g} s"
            self._say(AllRefused(opened.number, for_=f"others{waits}", refused=_reasons(opened)))
        if now >= self._give_up_at:
            raise AllRefusedError(
                f"round {opened.number} can never close: all who are present were refused, "
                f"{in_words(opened.refused)}; mend the cause and start the coordinator again with "
                f"the same --out, where it goes on from version {self._state.run.version}; "
                "with --when-all-refused wait it would wait for others"
            )

    def _draw_others(self, opened: OpenRound, candidates: AbstractSet[str]) -> bool:
        more = self._widen(opened, candidates)
        self._publisher.remind(sorted(more & self._state.owing(opened)))
        return bool(more)

    def _widen(self, opened: OpenRound, alive: AbstractSet[str]) -> frozenset[str]:
        """Draw others in the place of those in the sample who are gone."""
        more = self._state.sampling.widen(alive, opened.number)
        self._publisher.widen(more)
        opened.expect(more)
        return more

    def _tell_left_out(self, closed: OpenRound) -> None:
        """Report whom a round leaves out, were they gone by now, whenever that changes."""
        left_out = frozenset(closed.refused)
        if left_out and left_out != self._left_out:
            self._say(
                ParticipantsLeftOut(
                    closed.number,
                    participants=len(left_out),
                    present=len(self._state.presence.names | left_out),
                    refused=_reasons(closed),
                )
            )
        self._left_out = left_out


def _reasons(opened: OpenRound) -> str | None:
    return in_words(opened.refused) if opened.refused else None
