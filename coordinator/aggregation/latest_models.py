"""Exact asynchrony: the mean of everybody's latest local model.

The global model is u = sum_i(n_i y_i) / sum_i(n_i) over everybody i in the table, where y_i is the
last local model that i sent: base version plus delta, or the value of a floating buffer. A new y_i
takes the place of the one before it, so that nobody counts more for being fast (AREA, arXiv
2405.10123; ACE, arXiv 2511.19066).

What is added must be taken away again to the last bit. So local models lie on a grid of 2^-30, on
which float64 sums of whole multiples are exact while they stay below 2^23: then u is the mean of
the table whatever the order in which updates came, and however often one was replaced. Larger sums
round as float64 does, and the same order gives the same bits. u itself lies on a grid of 2^-40,
which makes u - w + w the same as u.

Shapes: all tensors of one name have one shape. Sums are float64.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

GRID = 2.0**30
MEAN_GRID = 2.0**40


def local_model(base: Tensor | None, sent: Tensor) -> Tensor:
    """Return y on the grid, in the dtype that the table keeps: float32, or float64 for float64.

    Args:
        base: the tensor of the version that was trained on, for a delta; None where the value
            itself was sent.
        sent: the delta or value.
    """
    values = sent.double() if base is None else base.double() + sent.double()
    return on_grid(values).to(torch.float64 if sent.dtype == torch.float64 else torch.float32)


def on_grid(values: Tensor, grid: float = GRID) -> Tensor:
    """Return float64 values rounded to multiples of 1 / grid."""
    return values.mul(grid).round_().div_(grid)


class LatestModels:
    """The sum of the table, which follows every change of it."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.sums: dict[str, Tensor] = {}
        """sum_i(n_i y_i) by tensor, float64."""
        self.examples: dict[str, int] = {}
        """sum_i(n_i) by tensor, over those who sent it."""

    def add(self, model: Mapping[str, Tensor], num_examples: int) -> None:
        """Let a local model count.

        Args:
            model: y_i, from `local_model`.
            num_examples: n_i, at least 1.
        """
        for name, values in model.items():
            if name in self.sums:
                self.sums[name].add_(values.double(), alpha=num_examples)
            else:
                self.sums[name] = values.double() * num_examples
            self.examples[name] = self.examples.get(name, 0) + num_examples

    def remove(self, model: Mapping[str, Tensor], num_examples: int) -> None:
        """Take back what `add` was given."""
        for name, values in model.items():
            self.sums[name].sub_(values.double(), alpha=num_examples)
            self.examples[name] -= num_examples
            if not self.examples[name]:
                del self.sums[name], self.examples[name]

    def mean(self, name: str) -> Tensor:
        """Return u of one tensor, float64; whoever asks knows that somebody sent it."""
        return on_grid(self.sums[name] / self.examples[name], MEAN_GRID)
