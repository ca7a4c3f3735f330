"""When a round may close, and which updates count toward it.

Plain values in, plain values out; no clock, no broker.
"""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["sync", "buffered", "async", "exact"]
Goal = Literal["all"] | int

NOT_CONNECTED = "the connection is lost"
"""One of the reasons for which a deadline stands still."""
DEFAULT_GOALS: dict[Mode, Goal] = {"sync": "all", "buffered": 3, "async": 1, "exact": 1}
DEFAULT_MAX_STALENESS: dict[Mode, int] = {"sync": 0, "buffered": 20, "async": 20, "exact": 100}


@dataclass(frozen=True, slots=True)
class RoundPolicy:
    """One rule for the whole family.

    goal = all is synchronous FedAvg, goal = K buffered asynchronous (FedBuff), goal = 1 FedAsync.
    """

    goal: Goal = "all"
    """How many updates close a round.

    `all` means everybody who was present when the version was published.
    """
    quorum: int = 1
    """The fewest updates with which the deadline may close a round."""
    deadline_seconds: float = 600.0
    """Seconds from the confirmed publication after which the quorum is enough."""
    max_staleness: int = 0
    """The largest staleness of an update that is still folded."""
    only_fresh_count: bool = True
    """Whether only updates of the current version count toward goal and quorum, as in sync mode."""
    fraction: float = 1.0
    """The part of those present that gets a version, above 0 and at most 1."""

    def sample_size(self, num_present: int) -> int:
        """Return how many get a version: the fraction, but never fewer than can close the round."""
        needed = self.quorum if self.goal == "all" else max(self.quorum, self.goal)
        return min(num_present, max(needed, round(self.fraction * num_present)))

    def expected(self, present: AbstractSet[str], sample: frozenset[str] | None) -> frozenset[str]:
        """Return from whom the goal `all` waits for an answer: a number waits for nobody's."""
        if self.goal != "all":
            return frozenset()
        return frozenset(present) if sample is None else sample


@dataclass(slots=True)
class OpenRound:
    """The round that is open: what it waits for and what it has.

    Times are seconds of one monotonic clock, read by the caller.
    """

    policy: RoundPolicy
    number: int
    """Round r turns version r-1 into version r."""
    expected: frozenset[str]
    """Whose answers the goal `all` waits for: who got version r-1 when it was published."""
    opened_at: float
    """When the version was out; infinite before. Nobody's deadline runs before it can be met."""
    counted: int = 0
    """Updates that count toward goal and quorum."""
    answered: set[str] = field(default_factory=set)
    """Who gave an answer on the current version, were it a refused one.

    There is nothing more to wait for.
    """
    refused: dict[str, str] = field(default_factory=dict)
    """Why of whom nothing counts so far, by participant."""
    under_way: set[str] = field(default_factory=set)
    """Who left after an update on the current version was confirmed that is not here yet.

    Goodbye comes through another queue, and overtakes it.
    """
    _owing: list[str] = field(init=False)
    """Those expected, less some who have answered: so that asking again and again costs little."""
    _deaf_seconds: float = field(init=False, default=0.0)
    """How long nothing could be received since the round was opened."""
    _deaf_since: float | None = field(init=False, default=None)
    _deaf_why: set[str] = field(init=False, default_factory=set)
    _reminded_at: float = field(init=False, default=-math.inf)
    _missed_at: float = field(init=False, default=-math.inf)
    _closes_early: bool = field(init=False, default=False)
    _unread: int | None = field(init=False, default=None)
    """After a deadline: how many events that came before it are still to be read."""

    def __post_init__(self) -> None:
        self._owing = list(self.expected)

    def expect(self, more: frozenset[str]) -> None:
        """Wait for these too: they were sent the version later."""
        self._owing += more - self.expected
        self.expected |= more

    def count(self, participant: str, *, staleness: int) -> None:
        """Take note of a folded update."""
        self.refused.pop(participant, None)
        if staleness == 0:
            self.answered.add(participant)
        if staleness == 0 or not self.policy.only_fresh_count:
            self.counted += 1

    def refuse(self, participant: str, reason: str, *, is_answer: bool) -> None:
        """Take note of an update that does not count.

        Args:
            participant: who sent it.
            reason: in words.
            is_answer: whether nothing better will come from this start of the participant.
        """
        if is_answer:
            self.answered.add(participant)
            self.refused[participant] = reason
        else:
            self.refused.setdefault(participant, reason)

    def ask_again(self, participant: str) -> bool:
        """Wait for one who was started again after its answer was refused; False if it was not."""
        if participant not in self.refused:
            return False
        del self.refused[participant]
        self.answered.discard(participant)
        return True

    def is_refused_by_all(self, members: AbstractSet[str]) -> bool:
        """Whether refusals alone keep the round from its quorum, and nobody owes an answer.

        Args:
            members: who is present and was to get the current version.
        """
        refused = self.refused.keys() & members
        return (
            bool(refused)
            and self.counted < self.policy.quorum <= self.counted + len(refused)
            and members <= self.answered
            and self.under_way <= self.answered
        )

    def goal(self, present: AbstractSet[str]) -> int:
        """Return how many updates close this round, given who is present now.

        One who joined during the round may contribute but does not raise the goal `all`; one who
        left lowers it. A number is capped by those present. Neither goes below the quorum.
        """
        coming = present | (self.under_way - self.answered)
        if self.policy.goal == "all":
            return max(self.policy.quorum, len(self.expected & coming))
        return max(self.policy.quorum, min(self.policy.goal, len(coming)))

    def is_full(self, present: AbstractSet[str]) -> bool:
        """Whether the goal is reached.

        For `all`, nobody who was expected and is still present owes an answer.
        """
        if self.policy.goal == "all":
            return self.counted >= self.policy.quorum and not self._somebody_owes(present)
        return self.counted >= self.goal(present)

    def _somebody_owes(self, present: AbstractSet[str]) -> bool:
        while self._owing and self._owing[-1] in self.answered:
            self._owing.pop()
        return any(
            name not in self.answered and (name in present or name in self.under_way)
            for name in reversed(self._owing)
        )

    def left(self, participant: str, *, has_answered: bool) -> None:
        """Take note of a goodbye, and whether an update on the current version went before it."""
        if has_answered and participant not in self.answered:
            self.under_way.add(participant)

    def published(self, now: float) -> None:
        """Take note that the version is out: the deadline counts from now."""
        self.opened_at, self._deaf_seconds = now, 0.0
        if self._deaf_since is not None:
            self._deaf_since = now

    def cannot_hear(self, now: float, why: str = NOT_CONNECTED) -> None:
        """Stop the deadline: what arrives cannot be received, or nobody can send anything."""
        self._deaf_why.add(why)
        if self._deaf_since is None:
            self._deaf_since = now

    def hears_again(self, now: float, why: str = NOT_CONNECTED) -> float:
        """Let the deadline go on, if nothing else holds it; return how long it stood still."""
        self._deaf_why.discard(why)
        if self._deaf_since is None or self._deaf_why:
            return 0.0
        seconds, self._deaf_since = now - self._deaf_since, None
        self._deaf_seconds += seconds
        return seconds

    def put_off(self, seconds: float) -> float:
        """Let the deadline come so much later, unless it stands still anyway; return how much."""
        if self._deaf_since is not None:
            return 0.0
        self._deaf_seconds += seconds
        return seconds

    @property
    def deadline(self) -> float:
        """The time at which the quorum becomes enough; infinite while nothing can be received."""
        if self._deaf_since is not None:
            return math.inf
        return self.opened_at + self.policy.deadline_seconds + self._deaf_seconds

    @property
    def next_reminder(self) -> float:
        """When to remind those who owe an answer: at the deadline, and as long after it again."""
        return max(self.deadline, self._reminded_at + self.policy.deadline_seconds)

    @property
    def silence_since(self) -> float:
        """From when on who says nothing is silent at the next deadline: the one that was missed."""
        return max(self.opened_at, self._missed_at)

    def missed(self, now: float) -> None:
        """Take note that a deadline has passed without the quorum."""
        self._missed_at = now

    def reminded(self, now: float) -> None:
        """Take note that those who owe an answer were reminded."""
        self._reminded_at = now

    def may_close(self, now: float, present: AbstractSet[str]) -> bool:
        """Whether the round closes now.

        The goal is reached, or the quorum is met and the deadline has passed, or somebody asked.
        """
        is_time = self._closes_early or now >= self.deadline
        return self.is_full(present) or (is_time and self.counted >= self.policy.quorum)

    def is_due(self, now: float, present: AbstractSet[str], *, num_unread: int) -> bool:
        """Whether the round closes now; asked once before each event is read.

        A deadline closes it only once everything is read that came before: after a long pause
        many an update is in time and still in the event buffer.

        Args:
            now: seconds of the clock.
            present: who is present.
            num_unread: events in the buffer.
        """
        if not self.may_close(now, present):
            self._unread = None
            return False
        self._unread = (num_unread if self._unread is None else self._unread) - 1
        return self._unread < 0 or self.is_full(present)

    def close_early(self) -> None:
        """Let the quorum be enough from now on."""
        self._closes_early = True
