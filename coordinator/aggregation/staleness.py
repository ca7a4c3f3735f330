"""How much an update counts that was trained on an older version.

Staleness tau is the current version minus the update's base version, taken when the update is
folded. The three families are those of FedAsync (Xie, Koyejo, Gupta: Asynchronous Federated
Optimization, 2019, section 5).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from fanfold.schemas.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Staleness:
    """A weight s(tau) in (0, 1], with s(0) = 1, and the text it was read from."""

    spec: str
    weight: Callable[[int], float]

    def __call__(self, staleness: int) -> float:
        """Return s(tau) for a staleness tau >= 0."""
        return self.weight(staleness)


def parse_staleness(spec: str) -> Staleness:
    """Read `constant`, `polynomial:A` or `hinge:A:B`.

    - `constant`: s(tau) = 1
    - `polynomial:A`: s(tau) = (1 + tau)^-A
    - `hinge:A:B`: s(tau) = 1 up to tau = B, then 1 / (A * (tau - B) + 1)

    Example:
        >>> [round(parse_staleness("polynomial:0.5")(tau), 7) for tau in (0, 1, 3, 8, 15)]
        [1.0, 0.7071068, 0.5, 0.3333333, 0.25]

    Raises:
        InvalidInputError: if the text is none of these or a number is negative or not finite.
    """
    name, *arguments = spec.split(":")
    try:
        numbers = [float(argument) for argument in arguments]
    except ValueError:
        raise _unknown(spec) from None
    if any(number < 0 or not math.isfinite(number) for number in numbers):
        raise _unknown(spec)
    match name, numbers:
        case "constant", []:
            return Staleness(spec, lambda _: 1.0)
        case "polynomial", [exponent]:
            return Staleness(spec, lambda tau: (1.0 + tau) ** -exponent)
        case "hinge", [slope, threshold]:
            return Staleness(
                spec,
                lambda tau: 1.0 if tau <= threshold else 1.0 / (slope * (tau - threshold) + 1.0),
            )
        case _:
            raise _unknown(spec)


def _unknown(spec: str) -> InvalidInputError:
    return InvalidInputError(
        f"staleness {spec!r} is not understood; use constant, polynomial:A or hinge:A:B "
        "with numbers that are not negative, for example polynomial:0.5"
    )
