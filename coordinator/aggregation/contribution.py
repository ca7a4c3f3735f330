"""What a run remembers of an update that counts, and what people are told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Contribution:
    """A folded update, as the history names it."""

    participant: str
    base_version: int
    staleness: int
    num_examples: int
    weight: float
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the participant measured on its own data, where that is finite."""
    share: float = 1.0
    """How much of it the aggregation rule let count: below 1 it was clipped or left out in part, at
    0 it was left out. Of rules by distance the shares of a round make 1 together.
    """
    updates: int | None = None
    """Of a region: of how many participants' updates it is the sum."""

    def document(self) -> dict[str, Any]:
        """Return this as JSON: the last field only of a region."""
        fields = {name: getattr(self, name) for name in self.__slots__}  # `asdict` copies deeply
        if self.updates is None:
            del fields["updates"]
        return fields


def with_shares(
    contributions: Sequence[Contribution], shares: Sequence[float] | None
) -> list[Contribution]:
    """Return contributions with how much of them counts, where only the close could say it."""
    if shares is None:
        return list(contributions)
    return [replace(each, share=share) for each, share in zip(contributions, shares, strict=True)]


def single_updates_of(contributions: Sequence[Contribution]) -> int | None:
    """Return how many participants' updates these are; None where no region sent a sum."""
    if all(each.updates is None for each in contributions):
        return None
    return sum(each.updates or 1 for each in contributions)


def shares_of(contributions: Sequence[Contribution]) -> dict[str, float] | None:
    """Return how much of each participant's updates counts, as in `Contribution.share`.

    None where all count as they are.
    """
    if all(each.share == 1 for each in contributions):
        return None
    shares: dict[str, float] = {}
    for each in contributions:
        shares[each.participant] = shares.get(each.participant, 0.0) + each.share
    return shares
