"""Folding rules: by what factor an update counts, one at a time."""

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, ClassVar

import torch
from torch import Tensor

from fanfold.coordinator.aggregation import float64
from fanfold.coordinator.aggregation.aggregator import Folding
from fanfold.schemas.errors import InvalidInputError

RECENT_ROUNDS = 5
MOST_NORMS = 1000
"""So many norms of a round are remembered."""


class Mean(Folding):
    """The mean over examples: FedAvg (McMahan et al. 2017)."""

    counts_examples: ClassVar[bool] = True

    def weigh(self, update: Mapping[str, Tensor]) -> tuple[float, float]:
        """Return 1 and 1."""
        del update
        return 1.0, 1.0


class Clip(Folding):
    """The mean of updates that are no longer than C (Sun et al. 2019, Can You Really Backdoor FL).

    Without C the median norm of the updates of recent rounds; before the first round is closed,
    that of the updates that came before. Norms count as they were before they were clipped.
    """

    def __init__(self, norm: float | None = None) -> None:
        """Clip at `norm`; None is the median of what was seen.

        Raises:
            InvalidInputError: if it is no number above 0.
        """
        if norm is not None and not 0 < norm < math.inf:
            raise InvalidInputError(f"clip:{norm:g} must clip at a number above 0")
        self.norm = norm
        self._rounds: deque[list[float]] = deque(maxlen=RECENT_ROUNDS)
        self._open: list[float] = []

    def weigh(self, update: Mapping[str, Tensor]) -> tuple[float, float]:
        """Return 1, and 1 or less for one that is too long."""
        length = norm_of(update)
        seen = [norm for norms in self._rounds for norm in norms] or self._open
        bound = self.norm if self.norm is not None else median(seen) if seen else length
        if len(self._open) < MOST_NORMS:
            self._open.append(length)
        return 1.0, min(1.0, bound / length) if length else 1.0

    def close(self) -> None:
        """Remember the norms of the round."""
        if self._open:
            self._rounds.append(self._open)
            self._open = []

    def state(self) -> dict[str, Any]:
        """Return the norms of recent rounds and of the open one."""
        return {"rounds": list(self._rounds), "open": self._open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back the norms."""
        self._rounds = deque(state.get("rounds", ()), maxlen=RECENT_ROUNDS)
        self._open = list(state.get("open", ()))


class FlTrust(Folding):
    """Believes updates as far as they point where trusted data points (Cao et al. 2021).

    The trust in an update g is the positive part of its cosine with the root update g0, which the
    coordinator trained on its own data. g counts with the length of g0:
    step = sum(trust * g * |g0| / |g|) / sum(trust).
    """

    def __init__(self) -> None:
        """Begin without a root update: whoever trains it sets `root`."""
        self.root: Mapping[str, Tensor] = {}

    def weigh(self, update: Mapping[str, Tensor]) -> tuple[float, float]:
        """Return trust, and |g0| / |g|."""
        length, root_length = norm_of(update), norm_of(self.root)
        if not length or not root_length:
            return 0.0, 0.0
        product = sum(
            float(torch.dot(tensor.reshape(-1).double(), self.root[name].reshape(-1).double()))
            for name, tensor in update.items()
            if name in self.root
        )
        return max(0.0, product / (length * root_length)), root_length / length


def norm_of(update: Mapping[str, Tensor]) -> float:
    """Return the L2 norm of all tensors together, in float64; finite values only."""
    return math.hypot(*(float64.norm(tensor) or 0.0 for tensor in update.values()))
