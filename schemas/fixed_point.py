"""Fixed point: updates as integers, whose sum does not depend on the order of arrival.

A delta x travels as the int32

    q = round(x * g * n / N * 2^f)        ties to even, at most `largest` in magnitude

where g <= 1 scales the whole update to an L2 norm of at most C, and n / N <= 1 is its weight. Sums
are taken modulo 2^32 (two's complement), and are right as long as the true sum lies within 31 bits:
`largest` and the most updates of a round are chosen so that it does. The step of a round is

    sum(q) / 2^f * N / sum(n)

Shapes: tensors keep those of the parameters; all on the CPU.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import FixedPlan

EXAMPLES = ".examples"
"""The row that tells n, where updates are weighed; no parameter has such a name."""
_BLOCK = 1 << 15
"""Values that are converted at a time: they stay in the processor's cache as float64.

torch gives more of them to several threads, which then wait for each other after every operation:
a hundred times longer than they work, where other processes want the same cores.
"""


def to_fixed(values: Tensor, plan: FixedPlan, factor: float) -> Tensor:
    """Return `values` times `factor` in fixed point.

    Args:
        values: of a floating dtype, all finite.
        plan: bits and the largest magnitude.
        factor: g * n / N, from 0 to 1.

    Returns:
        int32, of the same shape.
    """
    result = torch.empty(values.shape, dtype=torch.int32)
    target = result.view(-1)
    scale = factor * 2.0**plan.bits
    for begin, block in _float64_blocks(values):
        block.mul_(scale).round_().clamp_(-plan.largest, plan.largest)
        target[begin : begin + len(block)] = block
    return result


def from_fixed(sums: Tensor, plan: FixedPlan) -> Tensor:
    """Return the float64 values, times N, that sums of integers stand for; exact.

    Args:
        sums: int32.
        plan: bits, and N.
    """
    result = torch.empty(sums.shape, dtype=torch.float64)
    target = result.view(-1)
    for begin, block in _float64_blocks(sums):
        torch.mul(block, plan.examples * 2.0**-plan.bits, out=target[begin : begin + len(block)])
    return result


def add_fixed(total: Tensor, more: Tensor) -> None:
    """Add `more` to `total` in place, modulo 2^32; both int32, contiguous, of one shape."""
    here = words_of(total)
    np.add(here, words_of(more.contiguous()), out=here)


def words_of(integers: Tensor) -> npt.NDArray[np.uint32]:
    """Return integers as words, which add modulo 2^32, in the same memory.

    Args:
        integers: int32, contiguous, of any shape.
    """
    assert integers.dtype == torch.int32
    return integers.view(-1).numpy().view(np.uint32)


def fixed_deltas(
    deltas: Mapping[str, Tensor], plan: FixedPlan, *, num_examples: int
) -> dict[str, Tensor]:
    """Return the deltas of an update, clipped together, weighed and in fixed point.

    Where updates are weighed, their examples come last, as the row `EXAMPLES`.

    Args:
        deltas: of all parameters, by name.
        plan: the run's.
        num_examples: of this participant.

    Raises:
        InvalidInputError: if a value is not finite: no integer says so.
    """
    norms = [_norm(each) for each in deltas.values()]
    norm = float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
    if not math.isfinite(norm):
        raise InvalidInputError(
            "the training left values that are infinite or not a number, which fixed point cannot "
            "carry; lower the coordinator's --lr"
        )
    bound = plan.clip
    if plan.noise:  # rounding may make it longer, and the noise is for `clip`
        num_values = sum(each.numel() for each in deltas.values())
        bound -= math.sqrt(num_values) * 2.0 ** -(plan.bits + 1)
    if bound <= 0:
        raise InvalidInputError(
            f"{num_values} parameters in steps of 2^-{plan.bits} can be rounded by more than "
            f"--dp-clip {plan.clip:g}; choose --encoding fixed with more bits, or a lower --goal"
        )
    clip = 1.0 if norm <= bound else bound / norm
    counted = min(num_examples, plan.examples)
    factor = clip * (counted / plan.examples)
    integers = {name: to_fixed(delta, plan, factor) for name, delta in deltas.items()}
    if plan.examples > 1:
        integers[EXAMPLES] = torch.tensor(counted, dtype=torch.int32)
    return integers


def _norm(values: Tensor) -> Tensor:
    """Return the L2 norm as a float64 scalar."""
    norms = [torch.linalg.vector_norm(block) for _, block in _float64_blocks(values)]
    norm: Tensor = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    return norm


def _float64_blocks(values: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield blocks of the flat values as float64, and where each begins.

    A block may be changed, and is good until the next one is asked for.
    """
    flat = values.detach().reshape(-1)
    scratch = torch.empty(min(flat.numel(), _BLOCK), dtype=torch.float64)
    for begin in range(0, max(1, flat.numel()), _BLOCK):
        block = flat[begin : begin + _BLOCK]
        yield begin, scratch[: len(block)].copy_(block)
