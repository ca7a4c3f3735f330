"""What a check found, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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


@dataclass(frozen=True, slots=True)
class Report:
    """What a task is, and what a round of it costs a participant."""

    task: str
    device: str
    groups: tuple[Group, ...]
    examples: int
    """Of the private data."""
    held_out_examples: int | None
    validation_examples: int | None
    batch: str
    """The parts of the first batch, in words."""
    bytes_down: int
    """Of one version."""
    bytes_up: int
    """Of one update."""
    seconds_per_step: float
    steps_per_epoch: int
    evaluation_seconds: float | None
    loss: float | None
    """Over the steps of the check."""
    metrics: Mapping[str, float]
    """Of the held-out data, after a round."""
    memory_bytes: int
    """The most that this process took, and on an accelerator the most that was allocated there."""
    notes: tuple[str, ...]
    """What will not work as one might expect, and why."""

    def event(self) -> dict[str, Any]:
        """Return the fields of the event `checked`."""
        return asdict(self)
