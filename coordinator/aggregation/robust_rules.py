"""Rules that hostile updates cannot move far, as their papers have them.

Shapes: n updates, m coordinates of a block, G [n, n] their scalar products. Everything is float64.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregator import ByCoordinate, ByDistance, squared_distances
from fanfold.schemas.errors import InvalidInputError

LEAST_FOR_A_MAJORITY = 3
"""Of two updates nobody can say which one is honest."""


class Median(ByCoordinate):
    """The median of each coordinate (Yin et al. 2018, Byzantine-Robust Distributed Learning)."""

    has_weights: ClassVar[bool] = False

    @property
    def least_updates(self) -> int:
        """Three."""
        return LEAST_FOR_A_MAJORITY

    def combine(self, block: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middle values; of an even number the mean of both."""
        del weights
        return _mean_of_middle(block, (len(block) - 1) // 2)


class TrimmedMean(ByCoordinate):
    """The mean of each coordinate without its smallest and largest values (Yin et al. 2018)."""

    has_weights: ClassVar[bool] = False

    def __init__(self, beta: float) -> None:
        """Leave out the share `beta` of the values, at least 0 and below 0.5, at either end.

        Raises:
            InvalidInputError: if `beta` is another one.
        """
        if not 0 <= 2 * beta < 1:  # at a half nothing would be left
            raise InvalidInputError(
                f"trimmed-mean:{beta:g} must leave out a share from 0 to less than 0.5 at each end"
            )
        self.beta = beta

    @property
    def least_updates(self) -> int:
        """So many that one is left out at each end."""
        return math.ceil(1 / self.beta - 1e-9) if self.beta else 1

    def combine(self, block: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of what is left."""
        del weights
        return _mean_of_middle(block, math.floor(self.beta * len(block) + 1e-9))


class MultiKrum(ByDistance):
    """The mean of the M updates whose nearest others are nearest (Blanchard et al. 2017).

    An update's score is the sum of its squared distances to the n - f - 2 nearest others.
    """

    def __init__(self, f: int, m: int, *, neighbours: int = 2) -> None:
        """Withstand `f` hostile updates; choose `m`, at least 1.

        Args:
            f: hostile updates.
            m: how many are chosen; the lower n - f of those there are.
            neighbours: how many of n - f are no neighbours: 2 as in the paper. Allouah et al. 2023
                take 1.

        Raises:
            InvalidInputError: if `f` is below 0, or `m` below 1.
        """
        if f < 0 or m < 1:
            raise InvalidInputError(
                f"krum withstands a number from 0, and multi-krum chooses 1 or more; not {f} and "
                f"{m}"
            )
        self.f, self.m = f, m
        self._less = neighbours

    @property
    def least_updates(self) -> int:
        """2 f + 3, as the paper proves it for."""
        return max(2 * self.f + 3, self.f + self.m)

    def coefficients(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Return 0 for all but the chosen ones, which share 1 by their weights."""
        num = len(gram)
        num_nearest = num - self.f - self._less
        if num_nearest < 1:
            raise ValueError(f"krum:{self.f} cannot choose among {num} updates")
        distances = squared_distances(gram)
        distances.fill_diagonal_(math.inf)  # nobody is a neighbour of itself
        scores = distances.sort(dim=1).values[:, :num_nearest].sum(dim=1)
        # Two that are each other's nearest have one score: the first comes first, whatever rounding
        # makes of it.
        chosen = scores.float().argsort(stable=True)[: min(self.m, num - self.f)]
        coefficients = torch.zeros(num, dtype=torch.float64)
        coefficients[chosen] = weights[chosen] / weights[chosen].sum()
        return coefficients


class Krum(MultiKrum):
    """The one update whose nearest others are nearest (Blanchard et al. 2017)."""

    has_weights: ClassVar[bool] = False

    def __init__(self, f: int, *, neighbours: int = 2) -> None:
        """Withstand `f` hostile updates; `neighbours` as in `MultiKrum`."""
        super().__init__(f, 1, neighbours=neighbours)


class GeometricMedian(ByDistance):
    """The point with the smallest sum of distances (Pillutla et al. 2022, RFA), by Weiszfeld."""

    SMOOTHING = 1e-12
    """Of distances, over the longest one."""
    TOLERANCE = 1e-12
    """Of coefficients, at which it stops."""
    MOST_STEPS = 10_000

    @property
    def least_updates(self) -> int:
        """Three."""
        return LEAST_FOR_A_MAJORITY

    def coefficients(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Return those of the point itself, or of the update that it is."""
        at = _best_point(gram, weights)
        if at is not None:
            return torch.zeros(len(gram), dtype=torch.float64).index_fill_(0, torch.tensor(at), 1.0)
        start = weights / weights.sum()
        smallest = self.SMOOTHING * float(squared_distances(gram).max().sqrt()) or 1.0
        return weiszfeld(
            gram,
            weights,
            start,
            smallest=smallest,
            steps=self.MOST_STEPS,
            tolerance=self.TOLERANCE,
        )


class CenteredClipping(ByDistance):
    """The last step, moved toward each update by no more than tau (Karimireddy et al. 2021).

    v' = v + mean_i((x_i - v) * min(1, tau / |x_i - v|)), where v is what the last round made.
    """

    uses_last_step: ClassVar[bool] = True

    def __init__(self, tau: float | None = None) -> None:
        """Clip at `tau`; by default at the median distance of the round.

        Raises:
            InvalidInputError: if it is no number above 0.
        """
        if tau is not None and not 0 < tau < math.inf:
            raise InvalidInputError(f"centered-clipping:{tau:g} must clip at a number above 0")
        self.tau = tau

    def coefficients(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Return those of the updates, and of the last step."""
        center = torch.zeros(len(gram), dtype=torch.float64)
        center[-1] = 1.0
        distances = squared_distances(gram, center)[:-1].sqrt()
        tau = float(distances.quantile(0.5)) if self.tau is None else self.tau
        shares = torch.where(distances > tau, tau / distances, 1.0) * weights / weights.sum()
        return torch.cat([shares, 1.0 - shares.sum(dim=0, keepdim=True)])


def weiszfeld(
    gram: Tensor,
    weights: Tensor,
    start: Tensor,
    *,
    smallest: float,
    steps: int,
    tolerance: float = 0.0,
) -> Tensor:
    """Return the coefficients of Weiszfeld's point after so many steps.

    z' = sum_i(w_i x_i / d_i) / sum_i(w_i / d_i), where d_i = max(smallest, |x_i - z|).

    Args:
        gram: [n, n].
        weights: [n].
        start: [n], the coefficients of the first z; zeros are the origin.
        smallest: no distance counts as less.
        steps: no more than these.
        tolerance: no further step after one that moved no coefficient by more.
    """
    point = start
    for _ in range(steps):
        before = point
        pull = weights / squared_distances(gram, point).sqrt().clamp_(min=smallest)
        point = pull / pull.sum()
        if float((point - before).abs().max()) <= tolerance:
            break
    return point


def _best_point(gram: Tensor, weights: Tensor) -> int | None:
    """Return which update is the geometric median itself, if one is.

    Point j is where the pull of the others is no more than the weight that lies there (Kuhn 1973):
    |sum_i(w_i (x_i - x_j) / |x_i - x_j|)| <= sum of w_i with x_i = x_j.
    """
    distances = squared_distances(gram).sqrt()
    same = distances <= 1e-9 * float(distances.max())
    pulls = torch.where(same, 0.0, weights[None, :] / distances)  # row j pulls at point j
    totals, products = pulls.sum(dim=1), pulls @ gram
    squares = (products * pulls).sum(dim=1) - 2 * totals * products.diagonal()
    squares += totals.square() * gram.diagonal()
    here = torch.where(same, weights[None, :], 0.0).sum(dim=1)
    rest = squares.clamp(min=0).sqrt() - here
    best = int(rest.argmin())
    return best if float(rest[best]) <= 1e-9 * float(weights.sum()) else None


def _mean_of_middle(block: Tensor, num_cut: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each column without so many at each end, and how often a row is in it."""
    values, rows = block.sort(dim=0, stable=True)
    end = len(block) - num_cut
    kept = torch.bincount(rows[num_cut:end].reshape(-1), minlength=len(block))
    return values[num_cut:end].mean(dim=0), kept.double()
