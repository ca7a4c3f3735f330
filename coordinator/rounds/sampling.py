"""The participants that are sent a version, if a fraction of those present is.

They are those with the smallest hashes of the run's seed, the round and their id. So the sample
does not depend on the order of ids, is the same when a round is opened again after a crash, and
changes by one participant at most when one joins or leaves.
"""

import heapq
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from hashlib import sha256

from fanfold.coordinator.rounds.closing_rule import RoundPolicy


def draw(names: Iterable[str], *, size: int, seed: int, round_number: int) -> frozenset[str]:
    """Return `size` of the names, or all where there are fewer.

    Example:
        >>> draw(["ada", "bob", "eve"], size=1, seed=0, round_number=1)
        frozenset({'bob'})
    """

    def lot(name: str) -> bytes:
        return sha256(f"{seed}/{round_number}/{name}".encode()).digest()

    return frozenset(heapq.nsmallest(size, names, key=lot))


class Sampling:
    """The sample of the open round; None stands for everybody, as with a fraction of 1."""

    def __init__(self, policy: RoundPolicy, seed: int) -> None:
        """Make a sampling in which nobody is drawn yet."""
        self._policy = policy
        self._seed = seed
        self.members: frozenset[str] | None = None
        """Who gets the current version; None before the first draw, and for everybody."""

    def draw(self, present: AbstractSet[str], round_number: int) -> None:
        """Choose for a round among those present when its version is published."""
        if self._policy.fraction < 1:
            self.members = self._drawn(present, round_number)

    def widen(self, alive: AbstractSet[str], round_number: int) -> frozenset[str]:
        """Draw others in place of those who went silent, and return who was added.

        Without this a round would wait for ever if its whole sample never returns.

        Args:
            alive: those that have reported since the version was published.
            round_number: the number of the open round.
        """
        if self.members is None:
            return frozenset()
        more = self._drawn(alive, round_number) - self.members
        self.members |= more
        return more

    def is_deserted(self, present: AbstractSet[str]) -> bool:
        """Whether there are some who could train, and none of them was drawn."""
        return self.members is not None and bool(present) and self.members.isdisjoint(present)

    def restore(self, members: list[str] | None) -> None:
        """Take back the sample of a checkpoint, unless everybody gets versions now."""
        if members is not None and self._policy.fraction < 1:
            self.members = frozenset(members)

    def _drawn(self, names: AbstractSet[str], round_number: int) -> frozenset[str]:
        size = self._policy.sample_size(len(names))
        return draw(names, size=size, seed=self._seed, round_number=round_number)
