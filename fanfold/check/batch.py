"""A batch in words."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

MOST_PARTS = 8


def described(batch: Any) -> str:
    """Return what a batch holds, such as `(float32 [32, 3, 224, 224], int64 [32])`."""
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
    if isinstance(batch, Mapping):
        parts = [f"{name}: {described(part)}" for name, part in batch.items()]
        return "{" + ", ".join(_few(parts)) + "}"
    if isinstance(batch, list | tuple):
        if batch and all(isinstance(part, str | int | float) for part in batch):
            return f"{len(batch)} of {type(batch[0]).__name__}"
        return "(" + ", ".join(_few([described(part) for part in batch])) + ")"
    return type(batch).__name__


def _few(parts: list[str]) -> list[str]:
    return parts if len(parts) <= MOST_PARTS else [*parts[:MOST_PARTS], "..."]
