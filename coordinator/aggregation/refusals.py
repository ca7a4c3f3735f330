"""Why an update is not counted: expected, so values and not exceptions."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from fanfold.schemas.errors import FanfoldError


class Reason(StrEnum):
    """What every refusal is counted by."""

    MALFORMED = "malformed"
    UNKNOWN_RUN = "unknown run"
    UNKNOWN_BASE = "unknown base version"
    STALE = "too stale"
    DUPLICATE = "already counted"
    INCOMPATIBLE = "incompatible tensors"
    NON_FINITE = "non-finite values"
    TOO_LARGE = "update norm above the limit"
    TOO_MANY_EXAMPLES = "more examples than allowed"
    WRONG_SENDER = "sent in another's name"
    FLOOD = "too many messages"
    FULL = "the round is full"
    REGION = "the sum of a region"


OF_CONTENT = {
    Reason.MALFORMED,
    Reason.INCOMPATIBLE,
    Reason.NON_FINITE,
    Reason.TOO_LARGE,
    Reason.TOO_MANY_EXAMPLES,
    Reason.REGION,
}
"""Refusals of what an update holds, and not of when or by whom it was sent: its sender can mend
its data, code or settings, and train the version anew.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason, and a sentence for the one who sent the update."""

    reason: Reason
    detail: str = ""

    @property
    def fault(self) -> Literal["age", "content"] | None:
        """What was at fault, where all of the update was there to be judged."""
        if self.reason is Reason.STALE:
            return "age"
        return "content" if self.reason in OF_CONTENT - {Reason.MALFORMED} else None

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    """What no honest update exceeds."""

    max_staleness: int = 0
    max_examples: int | None = None
    """None is no limit."""
    max_norm: float | None = None
    """Of all deltas together; None is a bound that follows from the model, see `tensor_checks`."""
    max_buffer_norm: float | None = None
    """Of one floating buffer, and the largest growth of an integer one; None likewise."""
    max_region_updates: int | None = None
    """Most updates that one is the sum of; None takes none of regions."""

    def too_stale(self, base_version: int, *, version: int) -> Refusal | None:
        """Refuse what was trained on a version that is too far behind the current one."""
        staleness = version - base_version
        if staleness <= self.max_staleness:
            return None
        detail = f"version {base_version} is {staleness} behind, {self.max_staleness} allowed"
        return Refusal(Reason.STALE, detail)

    def too_many_examples(self, num_examples: int, updates: int | None) -> Refusal | None:
        """Refuse more examples than the sum of so many updates may have; None is one."""
        most = None if self.max_examples is None else self.max_examples * (updates or 1)
        if most is None or num_examples <= most:
            return None
        option = "--max-examples and, for the sum of a region, --max-region-updates"
        return Refusal(Reason.TOO_MANY_EXAMPLES, f"{num_examples}, {most} allowed, see {option}")

    def too_many_updates(self, updates: int | None, *, is_private: bool) -> Refusal | None:
        """Refuse the sum of more updates than a region may send; None is a participant's own."""
        most = self.max_region_updates
        if updates is None or (not is_private and most is not None and updates <= most):
            return None
        allowed = f"{most or 'none'} allowed, see --max-region-updates"
        if is_private:
            allowed = "a private run bounds what each participant adds, and in a sum nobody can"
        return Refusal(Reason.REGION, f"of {updates} updates; {allowed}")


MAX_NAMED, MAX_REASONS = 5, 3
"""A sentence names so many participants for each of so many reasons."""


def in_words(refused: Mapping[str, str]) -> str:
    """Return who was refused and why, the most frequent reason first.

    Example:
        >>> in_words({"ann": "too stale", "bob": "non-finite values: in 'w'", "cid": "too stale"})
        "too stale (ann, cid); non-finite values: in 'w' (bob)"
    """
    names = defaultdict(list)
    for participant, reason in sorted(refused.items()):
        names[reason].append(participant)
    reasons = sorted(names, key=lambda reason: -len(names[reason]))
    told = [f"{reason} ({_listed(names[reason])})" for reason in reasons[:MAX_REASONS]]
    more = len(reasons) - len(told)
    return "; ".join(told) + (f"; and {more} reasons more" if more else "")


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


class DivergedError(FanfoldError):
    """Raised when a round's step would leave the model infinite or not a number.

    The tensors are as before, and nothing else of the run may be used any more.
    """

    def __init__(self, version: int, tensor: str) -> None:
        super().__init__(
            f"round {version + 1} would make {tensor!r} infinite or not a number, so it does not "
            f"count: the model is version {version}, the last good one. Start again with a lower "
            "rate of --server-optimizer or --lr, or bound updates with --max-update-norm"
        )
        self.version = version
