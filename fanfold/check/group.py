"""Tensors that are treated alike, as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that are treated alike."""

    name: str
    """`trained`, `buffers`, `frozen`, `private` or `not persistent`."""
    treatment: str
    """What becomes of them, in words."""
    tensors: int
    values: int
    bytes: int
    dtypes: tuple[str, ...]
    examples: tuple[str, ...]
    """The first few names."""
