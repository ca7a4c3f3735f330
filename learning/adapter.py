"""An adapter: the small part of a large network that is tuned, beside a base that stays."""

from collections.abc import Mapping
from typing import Literal, Protocol

from torch import Tensor

Matrices = Literal["A", "B", "AB"]
"""Matrices of a LoRA adapter, whose product BA is added to a weight of the base."""


class Adapter(Protocol):
    """The adapter in one network."""

    def train(self, matrices: Matrices) -> None:
        """Let these matrices require gradients, and no others."""

    def files(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
        """Return what its files hold: the tensors by the names that they have there, and JSON.

        Args:
            tensors: all of the network, by flat name.
        """
