"""Runs a gathering rule over the updates of a round, block by block.

Memory does not grow with the round: no more than a block [n, m] of the updates is held at a time,
and what the rule makes of them, one update, whose sum it is then folded into.

A parameter that an update leaves out counts as a delta of zero: it was not trained. Floating
buffers take the median of the values sent, whatever the rule: distances between deltas say nothing
of them. Integers and booleans take the lower median.

Shapes: n updates, m coordinates of a block. Blocks are float64.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fanfold.coordinator.aggregation.aggregator import ByCoordinate, ByDistance
from fanfold.coordinator.aggregation.mixing import Mixing

BLOCK_VALUES = 1 << 21
"""Of all updates together: 16 MiB of float64."""


class KeptUpdate(Protocol):
    """A whole update of the open round, wherever it is kept."""

    def __contains__(self, name: object, /) -> bool:
        """Whether it brought this tensor."""
        ...

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """Return some of a tensor's values [end - begin], in C order and in its own dtype."""
        ...


@dataclass(frozen=True, slots=True)
class Combined:
    """What a rule made of a round: one update, and what became of each."""

    tensors: dict[str, Tensor]
    """Float64 deltas and buffers; integers and booleans in their own dtype."""
    shares: list[float]
    """How much each update counts. Of rules by distance its coefficient; of rules by coordinate
    the part of all coordinates that it is part of.
    """


class Gathering:
    """A rule, with what may come before it, over the tensors of one model."""

    def __init__(
        self,
        rule: ByCoordinate | ByDistance,
        tensors: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        *,
        mixing: Mixing | None = None,
        block_values: int = BLOCK_VALUES,
    ) -> None:
        """Hold no update.

        Args:
            rule: what makes one update of many.
            tensors: the global tensors by name, on the CPU; their values are not looked at.
            kinds: `delta` or `value`, by name.
            mixing: what comes before the rule.
            block_values: of all updates together, at a time.
        """
        self._rule = rule
        self._tensors = tensors
        self._kinds = kinds
        self._mixing = mixing or Mixing()
        self._block_values = block_values

    def combine(
        self,
        updates: Sequence[KeptUpdate],
        weights: Sequence[float],
        *,
        holes: Mapping[str, Tensor],
        last_step: Mapping[str, Tensor],
        seed: int,
        version: int,
    ) -> Combined:
        """Make one update of those of a round.

        Args:
            updates: at least one, in the order in which they came.
            weights: staleness weights, as many.
            holes: where a delta counts as zero, because there is no number to add it to.
            last_step: the rule's last one, for rules that use it; empty before the first.
            seed: the run's.
            version: the one that the round began with.
        """
        rows = _Rows(updates, holes, self._block_values)
        names = [name for name in self._tensors if self._kinds[name] == "delta"]
        names = [name for name in names if any(name in update for update in updates)]
        weighed = torch.tensor(weights, dtype=torch.float64)
        if isinstance(self._rule, ByDistance):
            combined = self._by_distance(
                rows, names, weighed, last_step=last_step, seed=seed, version=version
            )
        else:
            combined = self._by_coordinate(rows, names, weighed, seed=seed, version=version)
        for name in self._tensors:
            senders = [update for update in updates if name in update]
            if self._kinds[name] != "delta" and senders:
                combined.tensors[name] = self._middle(name, senders)
        return combined

    def _by_distance(
        self,
        rows: "_Rows",
        names: Sequence[str],
        weights: Tensor,
        *,
        last_step: Mapping[str, Tensor],
        seed: int,
        version: int,
    ) -> Combined:
        assert isinstance(self._rule, ByDistance)  # combine asked
        num = len(weights)
        own = self._rule.uses_last_step
        gram = torch.zeros(num + own, num + own, dtype=torch.float64)
        for name in names:
            for block, _, _ in rows.blocks(name, self._tensors[name], last_step if own else None):
                gram += block @ block.T
        matrix = self._mixing.matrix(gram[:num, :num], seed=seed, version=version)
        if own:
            matrix = nn.functional.pad(matrix, (0, 1, 0, 1))
            matrix[-1, -1] = 1.0
        seen, weighed = matrix @ gram @ matrix.T, _mixed(matrix[: len(matrix) - own, :num], weights)
        coefficients = self._rule.coefficients(seen, weighed) @ matrix
        made = {}
        for name in names:
            step = torch.empty(self._tensors[name].numel(), dtype=torch.float64)
            for block, begin, end in rows.blocks(
                name, self._tensors[name], last_step if own else None
            ):
                torch.mv(block.T, coefficients, out=step[begin:end])
            made[name] = step.view(self._tensors[name].shape)
        return Combined(made, coefficients[:num].tolist())

    def _by_coordinate(
        self, rows: "_Rows", names: Sequence[str], weights: Tensor, *, seed: int, version: int
    ) -> Combined:
        assert isinstance(self._rule, ByCoordinate)  # combine asked
        matrix = None
        if self._mixing.is_needed:
            gram = torch.zeros(len(weights), len(weights), dtype=torch.float64)
            for name in names if self._mixing.num_hostile is not None else ():
                for block, _, _ in rows.blocks(name, self._tensors[name], None):
                    gram += block @ block.T
            matrix = self._mixing.matrix(gram, seed=seed, version=version)
            weights = _mixed(matrix, weights)
        kept = torch.zeros(len(weights), dtype=torch.float64)
        made, num_values = {}, 0
        for name in names:
            step = torch.empty(self._tensors[name].numel(), dtype=torch.float64)
            for block, begin, end in rows.blocks(name, self._tensors[name], None):
                seen = block if matrix is None else matrix @ block
                step[begin:end], counts = self._rule.combine(seen, weights)
                kept += counts
            num_values += step.numel()
            made[name] = step.view(self._tensors[name].shape)
        if matrix is not None:
            kept = kept @ matrix
        return Combined(made, (kept / max(num_values, 1)).tolist())

    def _middle(self, name: str, senders: Sequence[KeptUpdate]) -> Tensor:
        """Return the median of values that are no deltas; of floating ones the finite ones."""
        here = self._tensors[name]
        middle = torch.empty(
            here.numel(), dtype=torch.float64 if here.is_floating_point() else here.dtype
        )
        for begin, end in _ranges(here.numel(), self._block_values // len(senders)):
            block = [update.read(name, begin, end) for update in senders]
            if here.is_floating_point():
                values = torch.stack([each.double() for each in block])
                values[~torch.isfinite(values)] = torch.nan
                middle[begin:end] = values.nanquantile(0.5, dim=0)
                continue
            ordered = torch.stack(block).numpy()  # knows all unsigned integers, as torch does not
            ordered.sort(axis=0)
            middle[begin:end] = torch.from_numpy(ordered[(len(block) - 1) // 2])
        return middle.view(here.shape)


class _Rows:
    """The updates of a round as the rows of blocks."""

    def __init__(
        self, updates: Sequence[KeptUpdate], holes: Mapping[str, Tensor], block_values: int
    ) -> None:
        self._updates = updates
        self._holes = holes
        self._block_values = block_values

    def blocks(
        self, name: str, here: Tensor, last_step: Mapping[str, Tensor] | None
    ) -> Iterator[tuple[Tensor, int, int]]:
        """Yield [n, m], begin and end; the last step is one more row where it is wanted."""
        num = len(self._updates) + (last_step is not None)
        hole = self._holes[name].view(-1) if name in self._holes else None
        for begin, end in _ranges(here.numel(), self._block_values // num):
            block = torch.zeros(num, end - begin, dtype=torch.float64)
            for row, update in zip(block, self._updates, strict=False):
                if name in update:
                    row.copy_(update.read(name, begin, end))
            if last_step is not None and name in last_step:
                block[-1].copy_(last_step[name].reshape(-1)[begin:end])
            if hole is not None:
                block.masked_fill_(hole[begin:end], 0.0)
            yield block, begin, end


def _ranges(num_values: int, most: int) -> Iterator[tuple[int, int]]:
    size = max(most, 1)
    for begin in range(0, num_values, size):
        yield begin, min(begin + size, num_values)


def _mixed(matrix: Tensor, weights: Tensor) -> Tensor:
    """Return the weights of mixed rows: the means of those of their members."""
    return matrix @ weights
