"""Fixed point as plain values: how many bits a round has room for; reading it loads no torch."""

import math
import re

from fanfold.schemas.encodings import Encoding
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import FixedPointChosen
from fanfold.schemas.messages import FixedPlan

DEFAULT_CLIP = 16.0
"""The largest L2 norm of an update where `--clip` does not say."""
LEAST_UPDATES, ROOM = 64, 4
"""Where bits are not given, a round has room for so many updates, and for so many times its goal:
more may come than the goal asks for while the version before is still on its way out.
"""
MOST_BITS = 30
_LARGEST_SUM = 2**31 - 1
_GRAMMAR = re.compile(r"fixed(?::(?P<bits>[0-9]{1,2}))?")


def is_fixed(encoding: str) -> bool:
    """Whether a setting names fixed point, however many bits it asks for."""
    return _GRAMMAR.fullmatch(encoding) is not None


def check_encoding(encoding: str) -> None:
    """Refuse what is no encoding of updates.

    Raises:
        InvalidInputError: with what to choose.
    """
    match = _GRAMMAR.fullmatch(encoding)
    if match is None:
        Encoding.from_setting(encoding)
    elif match["bits"] and int(match["bits"]) > MOST_BITS:
        raise InvalidInputError(
            f"{encoding} has more fraction bits than an integer of 32 bits; choose fixed, or "
            f"fixed:BITS with 0 to {MOST_BITS}"
        )


def wire_encoding(encoding: str) -> str:
    """Return what a version asks for: integers travel as they are."""
    return "float32" if is_fixed(encoding) else encoding


def num_updates(plan: FixedPlan) -> int:
    """Return how many updates a sum has room for: of their integers, and of their examples."""
    return _LARGEST_SUM // max(plan.largest, plan.examples)


def chosen(plan: FixedPlan) -> FixedPointChosen:
    """Return what people are told of a plan."""
    weights = "by examples" if plan.examples > 1 else "the same for all"
    return FixedPointChosen(plan.bits, plan.clip, num_updates(plan), weights)


def fixed_plan(
    encoding: str, *, clip: float, spread: float, needed: int, examples: int | None
) -> FixedPlan:
    """Return the plan that a setting names.

    Args:
        encoding: `fixed`, which chooses the bits, or `fixed:BITS`.
        clip: C, the largest L2 norm of an update.
        spread: what noise may add to one value; 0 without.
        needed: the most updates that the goal and the quorum of a round ask for.
        examples: N, the most examples of an update; None where all weigh the same.

    Raises:
        InvalidInputError: if the sum of a round could overflow.
    """
    match = _GRAMMAR.fullmatch(encoding)
    assert match is not None  # whoever calls has asked `is_fixed`
    room = max(LEAST_UPDATES, ROOM * needed)
    largest_value = clip + spread
    best = math.floor(math.log2(_LARGEST_SUM / room / largest_value))
    bits = int(match["bits"]) if match["bits"] else min(max(best, 0), MOST_BITS)
    largest = math.ceil(largest_value * 2**bits)
    if largest > _LARGEST_SUM // needed:
        fewer = math.floor(math.log2(_LARGEST_SUM / needed / largest_value))
        remedy = f"choose --encoding fixed:{fewer} or fewer bits, or" if fewer >= 0 else "choose"
        raise InvalidInputError(
            f"a sum of {needed} updates with values up to {largest_value:g} in steps of 2^-{bits} "
            f"could overflow 32 bits; {remedy} a lower --clip or --goal"
        )
    if examples is not None and examples > _LARGEST_SUM // needed:
        raise InvalidInputError(
            f"a sum of {needed} updates of up to {examples} examples could overflow 32 bits; set "
            f"--max-examples {_LARGEST_SUM // needed} or less"
        )
    return FixedPlan(bits=bits, clip=clip, largest=largest, examples=examples or 1)


def check_fixed(
    *, aggregator: str, mode: str, normalizes: bool, staleness: str | None, encoding: str
) -> None:
    """Refuse what does not go with a sum of integers.

    Args:
        aggregator: as its setting says.
        mode: of the rounds.
        normalizes: whether unequal local work is normalised.
        staleness: the weight of stale updates where somebody asked for one.
        encoding: of updates.

    Raises:
        InvalidInputError: with what to leave out.
    """
    found = None
    if aggregator.startswith("clip"):
        raise InvalidInputError(
            f"--aggregator {aggregator} shortens single updates at the coordinator, which knows "
            f"only sums with --encoding {encoding}: set --clip, and participants do it"
        )
    if mode == "exact":
        found = "--mode exact keeps everybody's latest model"
    elif aggregator != "mean":
        found = f"--aggregator {aggregator} looks at single updates"
    elif normalizes:
        found = "--normalize-steps divides single updates"
    elif staleness not in (None, "constant"):
        found = f"--staleness {staleness} weighs single updates"
    if found is not None:
        raise InvalidInputError(
            f"{found}, and --encoding {encoding} knows only their sum; leave one of them out"
        )
