"""The seam: what a round makes of its updates.

A rule is one of three kinds. None of them ever holds all updates of a round in memory:

- `Folding` rules say of one update at a time how much it counts; the running sum does the rest.
  Memory and disk do not grow with the round.
- `ByCoordinate` rules see all updates of a round, some coordinates at a time.
- `ByDistance` rules see the scalar products of all updates, and answer with one coefficient each:
  the step is the sum of the updates times their coefficients.

The last two gather: whole updates wait on the disk for the close of their round. A rule of one's
own is a class of one of these kinds, named as `package.module:ClassName`.

Shapes: n updates, m coordinates of a block. All numbers are float64.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor


class Aggregator:
    """What all kinds have in common. A rule belongs to one run, and is asked by one thread."""

    has_weights: ClassVar[bool] = True
    """Whether it heeds staleness weights; if not, they are refused together with it."""
    counts_examples: ClassVar[bool] = False
    """Whether an update weighs as many examples as it claims. The claim is the sender's own word,
    so a rule that guards against senders leaves it out: everybody counts once.
    """

    @property
    def least_updates(self) -> int:
        """The fewest updates of a round that it can work on."""
        return 1

    def state(self) -> dict[str, Any]:
        """Return what it remembers from round to round, as JSON holds it."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; an empty one is that of a rule that begins here."""


class Folding(Aggregator, ABC):
    """Takes one update at a time."""

    @abstractmethod
    def weigh(self, update: Mapping[str, Tensor]) -> tuple[float, float]:
        """Return how much an update weighs among the others, and what its deltas are multiplied by.

        Both are 0 or more. The step is sum(weight * factor * delta) / sum(weight).

        Args:
            update: the deltas of parameters by name, in the model's dtypes.
        """

    def close(self) -> None:
        """Take note that the round is over."""


class ByCoordinate(Aggregator, ABC):
    """Makes each coordinate of the step from those of the updates alone."""

    @abstractmethod
    def combine(self, block: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the step's coordinates [m], and of how many of them each update is part [n].

        Args:
            block: [n, m], coordinates of the updates.
            weights: [n], staleness weights in (0, 1].
        """


class ByDistance(Aggregator, ABC):
    """Weighs whole updates, by where they lie to each other."""

    uses_last_step: ClassVar[bool] = False
    """Whether the last row of `gram` is the step that it made in the last round: zeros before."""

    @abstractmethod
    def coefficients(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Return one coefficient for each row of `gram`.

        Args:
            gram: [n, n], scalar products; one more row and column with `uses_last_step`.
            weights: [n], staleness weights in (0, 1].

        Raises:
            ValueError: if there are too few updates.
        """


def squared_distances(gram: Tensor, coefficients: Tensor | None = None) -> Tensor:
    """Return squared L2 distances, from scalar products alone.

    Args:
        gram: [n, n], G, scalar products of n points.
        coefficients: [n], c, of a point z = sum_i c_i x_i.

    Returns:
        [n, n], those between points; or [n], those between points and z: G_ii - 2 (G c)_i + c'G c.
    """
    squares = gram.diagonal()
    if coefficients is None:
        sums = squares[:, None] + squares[None, :]
        distances = sums - gram - gram.T
        return distances.masked_fill_(distances < 1e-12 * sums, 0.0)  # less is rounding
    products = gram @ coefficients
    return (squares - 2 * products + coefficients @ products).clamp_(min=0)
