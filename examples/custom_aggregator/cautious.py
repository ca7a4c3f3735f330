"""An aggregation rule of one's own: the mean of updates that agree with the others.

An update counts as far as it points where the sum of all others points, and not at all where it
points elsewhere. `fanfold ... --aggregator cautious:Cautious:0.1` asks for a cosine of 0.1.
"""

import torch
from torch import Tensor

from fanfold import ByDistance


class Cautious(ByDistance):
    """Weighs updates by their cosine with the sum of the others."""

    def __init__(self, least: float = 0.0) -> None:
        """Leave out what has a smaller cosine than `least`."""
        self.least = least

    def coefficients(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Return coefficients [n] from scalar products [n, n] and staleness weights [n]."""
        norms = gram.diagonal().clamp(min=1e-30).sqrt()
        alike = gram / (norms[:, None] * norms[None, :])  # cosines: nobody is heard for shouting
        others = alike.sum() - 2 * alike.sum(dim=1) + alike.diagonal()  # |sum of the others|^2
        cosines = (alike.sum(dim=1) - 1) / others.clamp(min=1e-30).sqrt()
        trust = torch.where(cosines > self.least, cosines, 0.0) * weights
        return trust / norms * norms.median() / trust.sum().clamp(min=1e-30)
