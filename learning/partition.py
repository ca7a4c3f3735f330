"""Dividing one dataset among participants, for experiments on one machine.

All of it is pure Python on `random.Random`: the same seed gives the same parts on every machine and
with every version of torch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from math import isfinite
from typing import Literal

from fanfold.learning.errors import TaskError

SHARDS_EACH = 2
DIRICHLET_TRIES = 100


@dataclass(frozen=True, slots=True)
class Partition:
    """A way to divide a dataset's examples among participants.

    "iid": equal random parts. "shards": the examples sorted by label are cut into two shards per
    participant, dealt at random, so that each has few classes (McMahan et al. 2017, section 3).
    "dirichlet:ALPHA": each class is divided in proportions drawn from a symmetric Dirichlet
    distribution (Hsu et al. 2019); a small alpha gives a class to few participants, a large one
    divides it evenly.
    """

    kind: Literal["iid", "shards", "dirichlet"]
    alpha: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Partition":
        """Read "iid", "shards" or "dirichlet:ALPHA".

        Raises:
            TaskError: if it is anything else, or ALPHA is not a finite number above 0.
        """
        if text == "iid":
            return cls("iid")
        if text == "shards":
            return cls("shards")
        kind, colon, number = text.partition(":")
        try:
            alpha = float(number)
        except ValueError:
            alpha = 0.0
        if kind != "dirichlet" or not colon or not (alpha > 0 and isfinite(alpha)):
            raise TaskError(
                f"{text!r} is no partition; use iid, shards or dirichlet:ALPHA, ALPHA above 0"
            )
        return cls("dirichlet", alpha)

    def divide(self, labels: Sequence[int], num_partitions: int, seed: int = 0) -> list[list[int]]:
        """Put every example into exactly one part; no part is empty.

        Args:
            labels: the class of each example.
            num_partitions: how many parts.
            seed: the same seed gives the same parts.

        Returns:
            For each part the indices of its examples, in rising order.

        Raises:
            TaskError: if there are too few examples for so many parts, or Dirichlet's proportions
                left a part empty in every draw.
        """
        needed = num_partitions * (SHARDS_EACH if self.kind == "shards" else 1)
        if num_partitions < 1 or len(labels) < needed:
            raise TaskError(
                f"{len(labels)} examples cannot make {num_partitions} parts ({self.kind})"
            )
        generator = random.Random(seed)
        if self.kind == "iid":
            parts = _iid(len(labels), num_partitions, generator)
        elif self.kind == "shards":
            parts = _shards(labels, num_partitions, generator)
        else:
            parts = _dirichlet(labels, num_partitions, self.alpha, generator)
        return [sorted(part) for part in parts]


def _iid(num_examples: int, num_partitions: int, generator: random.Random) -> list[list[int]]:
    order = list(range(num_examples))
    generator.shuffle(order)
    return [order[first::num_partitions] for first in range(num_partitions)]


def _shards(
    labels: Sequence[int], num_partitions: int, generator: random.Random
) -> list[list[int]]:
    order = list(range(len(labels)))
    generator.shuffle(order)
    order.sort(key=lambda index: labels[index])  # stable: random within a class
    count = SHARDS_EACH * num_partitions
    cuts = [len(order) * cut // count for cut in range(count + 1)]
    shards = [order[begin:end] for begin, end in pairwise(cuts)]
    generator.shuffle(shards)
    return [list(chain(*shards[part::num_partitions])) for part in range(num_partitions)]


def _dirichlet(
    labels: Sequence[int], num_partitions: int, alpha: float, generator: random.Random
) -> list[list[int]]:
    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        by_class.setdefault(label, []).append(index)
    for _ in range(DIRICHLET_TRIES):
        parts: list[list[int]] = [[] for _ in range(num_partitions)]
        for label in sorted(by_class):
            members = by_class[label][:]
            generator.shuffle(members)
            begin = 0
            for part, end in zip(
                parts, _cuts(len(members), num_partitions, alpha, generator), strict=True
            ):
                part.extend(members[begin:end])
                begin = end
        if all(parts):
            return parts
    raise TaskError(
        f"dirichlet:{alpha} left one of {num_partitions} parts empty in {DIRICHLET_TRIES} draws; "
        "use a larger alpha or fewer participants"
    )


def _cuts(
    num_examples: int, num_partitions: int, alpha: float, generator: random.Random
) -> list[int]:
    """Return where each part of one class ends; proportions from Dirichlet(alpha, ..., alpha)."""
    # Gamma variates over their sum are a Dirichlet draw; at tiny alphas all can underflow to 0.
    shares = [generator.gammavariate(alpha, 1.0) for _ in range(num_partitions)]
    if not any(shares):
        shares[generator.randrange(num_partitions)] = 1.0
    sums = list(accumulate(shares))
    return [round(num_examples * up_to_here / sums[-1]) for up_to_here in sums]
