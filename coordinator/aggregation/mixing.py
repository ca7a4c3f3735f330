"""What may come before a gathering rule: means of some updates in the place of each.

Both are matrices M [rows, n] over n updates: a rule sees the rows M x, whose scalar products are
M G M'. So every rule goes with both, and with one after the other.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregator import squared_distances
from fanfold.schemas.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Mixing:
    """Bucketing first, then nearest-neighbour mixing, each where it is wanted."""

    bucket_size: int = 1
    """S: each row is the mean of so many updates, drawn anew in each round (Karimireddy et al.
    2022, Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing).
    """
    num_hostile: int | None = None
    """F: each row becomes the mean of the n - F rows nearest to it, itself among them (Allouah et
    al. 2023, Fixing by Mixing).
    """

    @property
    def is_needed(self) -> bool:
        """Whether it does anything."""
        return self.bucket_size > 1 or self.num_hostile is not None

    def num_updates(self, num_rows: int) -> int:
        """Return the fewest updates that make so many rows."""
        return max(self.bucket_size * (num_rows - 1) + 1, (self.num_hostile or 0) * 2 + 1)

    def matrix(self, gram: Tensor, *, seed: int, version: int) -> Tensor:
        """Return M [rows, n].

        Args:
            gram: [n, n], scalar products of the updates.
            seed: the run's.
            version: the one that the round began with: each draws other buckets.
        """
        matrix = torch.eye(len(gram), dtype=torch.float64)
        if self.bucket_size > 1:
            matrix = buckets(len(gram), self.bucket_size, random.Random(f"{seed}/{version}"))
        if self.num_hostile is not None:
            matrix = nearest_means(matrix @ gram @ matrix.T, self.num_hostile) @ matrix
        return matrix


def buckets(num_updates: int, size: int, generator: random.Random) -> Tensor:
    """Return [ceil(n / size), n]: each row the mean of a bucket, the last one perhaps a small one.

    Args:
        num_updates: n.
        size: updates in a bucket.
        generator: draws the order.
    """
    order = generator.sample(range(num_updates), num_updates)
    matrix = torch.zeros((num_updates + size - 1) // size, num_updates, dtype=torch.float64)
    for row, begin in enumerate(range(0, num_updates, size)):
        members = order[begin : begin + size]
        matrix[row, members] = 1.0 / len(members)
    return matrix


def nearest_means(gram: Tensor, num_hostile: int) -> Tensor:
    """Return [n, n]: each row the mean of the n - f rows nearest to it.

    Raises:
        ValueError: if there are no more rows than hostile ones.
    """
    num = len(gram)
    if num_hostile >= num:
        raise ValueError(f"nnm:{num_hostile} cannot mix {num} updates")
    distances = squared_distances(gram).fill_diagonal_(0.0)
    nearest = distances.argsort(dim=1, stable=True)[:, : num - num_hostile]
    return torch.zeros_like(gram).scatter_(1, nearest, 1.0 / (num - num_hostile))


def parse_mixing(buckets_of: int | None, mixing: str | None) -> Mixing:
    """Read `--buckets S` and `--mixing nnm:F`.

    Raises:
        InvalidInputError: if the text is none of these.
    """
    num_hostile = None
    if mixing is not None:
        name, _, number = mixing.partition(":")
        if name != "nnm" or not number.isdecimal():
            raise InvalidInputError(
                f"mixing {mixing!r} is not understood; use nnm:F, where F is the number of hostile "
                "updates to withstand, for example nnm:2"
            )
        num_hostile = int(number)
    return Mixing(buckets_of or 1, num_hostile)
