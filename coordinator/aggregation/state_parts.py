"""The tensors of a run's state under one another's names, as a checkpoint holds them."""

from collections.abc import Mapping

from torch import Tensor

PARTS = (
    *("parameters", "masters", "optimizer", "sum", "begun", "latest", "step", "fixed"),
    "published",
)
"""First parts of the names: what a tensor belongs to."""


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return all tensors as `part/name`."""
    return {f"{part}/{name}": each for part, of in parts.items() for name, each in of.items()}


def split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors by part and name; parts that hold none are empty."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for path, tensor in tensors.items():
        part, _, name = path.partition("/")
        parts[part][name] = tensor
    return parts
