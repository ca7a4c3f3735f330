"""Runs a rule over rows, as a round would."""

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.aggregator import ByCoordinate, ByDistance
from fanfold.coordinator.aggregation.gathering import Combined, Gathering
from fanfold.coordinator.aggregation.mixing import Mixing

BLOCKS = [4, 64, 1 << 21]
"""Values of a block: less than a row, a few columns, everything."""


class Held:
    """An update that is kept in memory."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def read(self, name: str, begin: int, end: int) -> Tensor:
        return self.tensors[name].reshape(-1)[begin:end]


def combine(
    rule: ByCoordinate | ByDistance,
    rows: Tensor,
    *,
    weights: list[float] | None = None,
    last_step: Tensor | None = None,
    mixing: Mixing | None = None,
    block_values: int = 1 << 21,
) -> tuple[Tensor, list[float]]:
    """Run a rule over rows whose coordinates are split over two tensors."""
    cut = rows.shape[1] // 2
    names = {"a": slice(0, cut), "b": slice(cut, None)}
    tensors = {name: torch.zeros(rows[0][part].shape) for name, part in names.items()}
    gathering = Gathering(
        rule, tensors, dict.fromkeys(names, "delta"), mixing=mixing, block_values=block_values
    )
    made: Combined = gathering.combine(
        [Held({name: row[part] for name, part in names.items()}) for row in rows],
        weights or [1.0] * len(rows),
        holes={},
        last_step={}
        if last_step is None
        else {name: last_step[part] for name, part in names.items()},
        seed=1,
        version=2,
    )
    return torch.cat([made.tensors["a"], made.tensors["b"]]), made.shares


def random_rows(num: int = 9, size: int = 33, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, size, generator=generator, dtype=torch.float64)
