"""Whom to ask for which masks next, from what the keepers said so far: plain values."""

import math
from dataclasses import dataclass, field

from fanfold.schemas.keeper_messages import Approval
from fanfold.sealing.masks import seeds_held

Question = tuple[int, tuple[int, ...]]
"""A keeper, and the seeds whose masks it is to sum; none where it is to approve."""


@dataclass(slots=True)
class KeepersAsked:
    """The state of asking for one set. Times are seconds of a monotonic clock."""

    num_keepers: int
    again_seconds: float
    """A keeper that is silent for so long is asked again, and others are asked beside it."""
    approvals: dict[int, Approval] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    """Seeds whose masks are summed already."""
    _asked_at: dict[int, float] = field(default_factory=dict)
    _asked_for: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the masks of all seeds are known."""
        return len(self.known) == self.num_keepers

    @property
    def is_refused(self) -> bool:
        """Whether too few are left who could tell."""
        return self.num_keepers - len(self.refusals) < self.needed

    @property
    def needed(self) -> int:
        """How many keepers it takes."""
        return 1 if self.num_keepers == 1 else 2

    @property
    def silent(self) -> list[int]:
        """Who was asked and has not said anything."""
        heard = self.approvals.keys() | self.refusals.keys()
        return [keeper for keeper in range(self.num_keepers) if keeper not in heard]

    @property
    def due_at(self) -> float:
        """When somebody is to be asked again."""
        return min(self._asked_at.values(), default=-math.inf) + self.again_seconds

    def heard(self, keeper: int, now: float) -> None:
        """Take note of a sign of life: a part of an answer."""
        if keeper in self._asked_at:
            self._asked_at[keeper] = now

    def approved(self, approval: Approval) -> None:
        """Take note of an approval; that keeper is free to be asked for masks."""
        self.approvals[approval.keeper] = approval
        self._asked_at.pop(approval.keeper, None)

    def told(self, keeper: int, seeds: tuple[int, ...]) -> bool:
        """Take note of masks; False if they are not needed, or not what was asked for."""
        self._asked_at.pop(keeper, None)
        held = set(seeds_held(keeper, self.num_keepers))
        if not seeds or not set(seeds) <= held - self.known or len(set(seeds)) < len(seeds):
            return False
        self.known |= set(seeds)
        return True

    def refused(self, keeper: int, reason: str) -> None:
        """Take note of a refusal."""
        self.refusals[keeper] = reason
        self.approvals.pop(keeper, None)
        self._asked_at.pop(keeper, None)

    def questions(self, now: float) -> list[Question]:
        """Return what to ask now; nothing where answers are awaited."""
        late = [each for each, at in self._asked_at.items() if now - at >= self.again_seconds]
        for keeper in late:
            del self._asked_at[keeper]
        asked = self._approvals_to_ask() if self._needs_approvals else self._masks_to_ask(late)
        for keeper, seeds in asked:
            self._asked_at[keeper] = now
            self._asked_for[keeper] = seeds
        return asked

    @property
    def _needs_approvals(self) -> bool:
        return self.num_keepers > 1 and len(self.approvals) < self.needed

    def _approvals_to_ask(self) -> list[Question]:
        return [(keeper, ()) for keeper in self.silent if keeper not in self._asked_at]

    def _masks_to_ask(self, late: list[int]) -> list[Question]:
        """Share the missing seeds out; who was late comes last."""
        able = sorted(self.approvals, key=lambda keeper: (keeper in late, keeper))
        if self.num_keepers == 1:
            able = [0] if 0 not in self.refusals else []
        missing = set(range(self.num_keepers)) - self.known
        for keeper in self._asked_at:  # they are at work on these
            missing -= set(self._asked_for.get(keeper, ()))
        asked: list[Question] = []
        for keeper in able:
            mine = tuple(sorted(missing & set(seeds_held(keeper, self.num_keepers))))
            if mine and keeper not in self._asked_at:
                asked.append((keeper, mine))
                missing -= set(mine)
        return asked
