"""What goes down and up between two levels, and how a sum is told. Pure.

Shapes: all tensors are on the CPU, and have those of the model's tensor of their name; the row
`EXAMPLES` of fixed point is a single number.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.running_sum import DELTA, VALUE, RunningSum
from fanfold.schemas.fixed_point import EXAMPLES
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.tensor_table import Kind

Told = tuple[dict[str, Tensor], dict[str, Kind]]
"""Tensors and their kinds, by name."""


@dataclass(frozen=True, slots=True)
class VersionFromAbove:
    """A version of the run above.

    Attributes:
        message: what it says beside its tensors.
        digest: of the message, by which an answer names it.
        tensors: by name, on the CPU.
        kinds: how updates carry them.
        is_own: whether it is what an earlier process left: its checkpoint is at least as new.
    """

    message: GlobalParameters
    digest: str
    tensors: Mapping[str, Tensor]
    kinds: dict[str, Kind]
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class RegionalSum:
    """What the updates of one round make together.

    Attributes:
        tensors: by name: sums of integers in fixed point, else means over examples.
        kinds: of the tensors.
        num_examples: of all updates together.
        updates: of participants, those of regions below counted as what they stand for.
        metrics: means over examples.
    """

    tensors: Mapping[str, Tensor]
    kinds: Mapping[str, Kind]
    num_examples: int
    updates: int
    metrics: Mapping[str, float]


def fixed_sum(sums: Mapping[str, Tensor]) -> Told:
    """Return sums of integers as they are, int32."""
    kinds = {name: VALUE if name == EXAMPLES else DELTA for name in sums}
    return {name: tensor.clone() for name, tensor in sums.items()}, kinds


def mean_of(running: RunningSum) -> Told:
    """Return the means that a coordinator would make its step of, in the dtypes of its tensors.

    Floating values travel as values, and other ones as the largest: see `running_sum`.
    """
    tensors: dict[str, Tensor] = {}
    kinds: dict[str, Kind] = {}
    for name, total in running.sums.items():
        here = running.tensors[name]
        kinds[name] = DELTA if running.kinds[name] == DELTA else VALUE
        if not here.is_floating_point():
            tensors[name] = total.clone()
            continue
        examples, begun = running.examples[name], running.begun.get(name)
        if begun is None:
            mean = total / examples
        else:
            mean = total / torch.where(begun > 0, begun, examples)
        if kinds[name] == VALUE:
            moved = here.double() + mean
            mean = moved if begun is None else torch.where(begun > 0, mean, moved)
        tensors[name] = mean.to(here.dtype)
    return tensors, kinds
