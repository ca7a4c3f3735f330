"""What the coordinator's parts all look at: the run, its round, and who takes part in it."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fanfold.coordinator.aggregation.published_model import PublishedModel
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.sampling import Sampling


@dataclass(slots=True)
class FederationState:
    """Plain state of one federation; times are seconds of one monotonic clock."""

    run: RunState
    presence: Presence
    sampling: Sampling
    round: OpenRound | None = None
    """The one that is open, from the publication of its version to its close."""
    published: PublishedModel | None = None
    """What participants train on, where versions travel as differences."""

    def next_round(self, policy: RoundPolicy) -> OpenRound:
        """Return the round after the current version, with what was folded before a restart."""
        opened = OpenRound(
            policy,
            self.run.version + 1,
            expected=policy.expected(self.presence.names, self.sampling.members),
            opened_at=math.inf,
        )
        for contribution in self.run.contributions:
            opened.count(contribution.participant, staleness=contribution.staleness)
        return opened

    @property
    def members(self) -> AbstractSet[str]:
        """Who is present and was to get the current version."""
        drawn, present = self.sampling.members, self.presence.names
        return present if drawn is None else present & drawn

    @property
    def is_full(self) -> bool:
        """Whether the open round has reached its goal."""
        return self.round is not None and self.round.is_full(self.presence.names)

    def holds_base(self, participant: str) -> bool:
        """Whether one holds the version before the current one: its update of that counts."""
        last, _ = self.run.last_counted.get(participant, (-1, ""))
        return last == self.run.version - 1 >= 0

    @property
    def holders(self) -> frozenset[str]:
        """Who is present and holds the version before the current one."""
        return frozenset(filter(self.holds_base, self.presence.names))

    def who_waits(
        self,
        policy: RoundPolicy,
        reachable: AbstractSet[str],
        holders: AbstractSet[str] = frozenset(),
    ) -> frozenset[str] | None:
        """Return who is to be sent the next version whole now, or None for everybody.

        Where updates of the current version alone count, nobody is left at work on another.
        `holders` are sent its difference, and that alone.
        """
        is_for_all = policy.only_fresh_count or policy.fraction < 1
        present, versions = self.presence.names, self.presence.versions
        waiting = None if is_for_all else versions.receivers(present, reachable)
        if not holders:
            return waiting
        return (frozenset(present | reachable) if waiting is None else waiting) - holders

    def counts_an_answer_of(self, participant: str) -> bool:
        """Whether the open round counts an update of a participant on the current version."""
        opened = self.round
        if opened is None or participant in opened.refused:
            return False
        return participant in opened.answered

    def owing(self, opened: OpenRound) -> set[str]:
        """Return which members have not answered."""
        return set(self.members - opened.answered)

    def at_work(self, now: float) -> set[str]:
        """Return who said of late that it works on the current version."""
        return self.presence.at_work_on(self.run.run_id, self.run.version, now=now)

    def cannot_hear(self, now: float, why: str) -> None:
        """Stop the deadline: what arrives cannot be received, or nobody can send anything."""
        if self.round is not None:
            self.round.cannot_hear(now, why)

    def hears_again(self, now: float, why: str) -> None:
        """Let the deadline go on, if nothing else holds it; nobody was silent meanwhile."""
        if self.round is not None:
            self.presence.could_not_speak(self.round.hears_again(now, why), now)

    def could_not_read(self, seconds: float, now: float) -> None:
        """Put off the deadline by so long, until now; nobody was silent or late meanwhile."""
        if self.round is not None:
            self.presence.could_not_speak(self.round.put_off(seconds), now)
