"""When a round may close, and which updates count toward it.

Plain values in, plain values out; no clock, no broker.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["sync", "buffered", "async"]
Goal = Literal["all"] | int

DEFAULT_GOALS: dict[Mode, Goal] = {"sync": "all", "buffered": 3, "async": 1}
DEFAULT_MAX_STALENESS: dict[Mode, int] = {"sync": 0, "buffered": 20, "async": 20}


@dataclass(frozen=True, slots=True)
class RoundRules:
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

    rules: RoundRules
    number: int
    """Round r turns version r-1 into version r."""
    expected: frozenset[str]
    """Whose answers the goal `all` waits for: who got version r-1 when it was published."""
    opened_at: float
    counted: int = 0
    """Updates that count toward goal and quorum."""
    answered: set[str] = field(default_factory=set)
    """Who gave an answer on the current version, were it a refused one.

    There is nothing more to wait for.
    """
    _owing: list[str] = field(init=False)
    """Those expected, less some who have answered: so that asking again and again costs little."""

    def __post_init__(self) -> None:
        self._owing = list(self.expected)

    def expect(self, more: frozenset[str]) -> None:
        """Wait for these too: they were sent the version later."""
        self._owing += more - self.expected
        self.expected |= more

    def count(self, participant: str, *, staleness: int) -> None:
        """Take note of a folded update."""
        if staleness == 0:
            self.answered.add(participant)
        if staleness == 0 or not self.rules.only_fresh_count:
            self.counted += 1

    def goal(self, present: AbstractSet[str]) -> int:
        """Return how many updates close this round, given who is present now.

        One who joined during the round may contribute but does not raise the goal `all`; one who
        left lowers it. A number is capped by those present. Neither goes below the quorum.
        """
        if self.rules.goal == "all":
            return max(self.rules.quorum, len(self.expected & present))
        return max(self.rules.quorum, min(self.rules.goal, len(present)))

    def is_full(self, present: AbstractSet[str]) -> bool:
        """Whether the goal is reached.

        For `all`, nobody who was expected and is still present owes an answer.
        """
        if self.rules.goal == "all":
            return self.counted >= self.rules.quorum and not self._somebody_owes(present)
        return self.counted >= self.goal(present)

    def _somebody_owes(self, present: AbstractSet[str]) -> bool:
        while self._owing and self._owing[-1] in self.answered:
            self._owing.pop()
        return any(name in present and name not in self.answered for name in reversed(self._owing))

    @property
    def deadline(self) -> float:
        """The time at which the quorum becomes enough."""
        return self.opened_at + self.rules.deadline_seconds

    def may_close(self, now: float, present: AbstractSet[str]) -> bool:
        """Whether the round closes now.

        The goal is reached, or the deadline has passed and the quorum is met.
        """
        return self.is_full(present) or (now >= self.deadline and self.counted >= self.rules.quorum)
