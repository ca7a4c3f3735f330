"""Float64 arithmetic over narrower tensors, block by block.

torch's operations over mixed dtypes are not vectorised, and converting a whole tensor first takes
twice its memory. A block that is converted inside the processor's cache costs neither: folding is
six times faster, a norm ten times, and the same bits come out whatever the size of a block.

Shapes: all tensors of one call have the same shape, on the CPU.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BLOCK_VALUES = 1 << 17
"""1 MiB of float64: it stays in the cache, and the calls per block weigh nothing."""


def scaled(values: Tensor, scale: float, *, room: Tensor | None = None) -> Tensor:
    """Return scale * values as float64; values of any floating dtype.

    Args:
        values: of any floating dtype.
        scale: what they are multiplied with.
        room: float64, contiguous, takes the result: memory that was used before costs less.
    """
    result = torch.empty(values.shape, dtype=torch.float64) if room is None else room
    for block, target in zip(_blocks(values.reshape(-1)), _blocks(result), strict=True):
        target.copy_(block).mul_(scale)
    return result


def add_scaled(total: Tensor, values: Tensor, scale: float) -> None:
    """Add scale * values to `total` in place; total is float64 and contiguous."""
    if _is_taken_as_it_is(values):
        total.add_(values, alpha=scale)
        return
    for block, target in zip(_converted(values), _blocks(total), strict=True):
        target.add_(block, alpha=scale)


def move_by(tensor: Tensor, step: Tensor) -> None:
    """Add a float64 step to a tensor in place, rounded once; the step is used up."""
    if _is_taken_as_it_is(tensor):
        tensor.copy_(step.add_(tensor))
        return
    flat = tensor if tensor.is_contiguous() else tensor.contiguous()
    for block, moved, target in zip(_converted(flat), _blocks(step), _blocks(flat), strict=True):
        target.copy_(moved.add_(block))
    if flat is not tensor:
        tensor.copy_(flat)


def overflows(tensor: Tensor, step: Tensor, dtype: torch.dtype) -> bool:
    """Return whether some of tensor + step, rounded to its dtype and to another, is not finite.

    Args:
        tensor: of finite values.
        step: float64, contiguous.
        dtype: what the sum is rounded to after the tensor's own dtype.
    """
    own = torch.finfo(tensor.dtype)
    if tensor.dtype == dtype and math.sqrt(_square(step)) < own.max * own.eps / 4:
        return False  # less than half the last place of the largest number: it rounds back to that
    return not all(
        bool(finite((block + moved).to(tensor.dtype).to(dtype)).all())
        for block, moved in zip(_converted(tensor), _blocks(step), strict=True)
    )


def norm(values: Tensor) -> float | None:
    """Return the L2 norm, or None where a value is not finite; values of any floating dtype."""
    square = _square(values)
    if math.isfinite(square):
        return math.sqrt(square)
    if bool(finite(values).all()):
        return float(torch.linalg.vector_norm(values, dtype=torch.float64))  # float64 beyond 1e154
    return None


def norm_at_most(values: Tensor) -> float | None:
    """Return the L2 norm or up to 2 % more, for float32 in a quarter of the time of `norm`.

    None where a value is not finite, or the square of one is not; values of any floating dtype.
    """
    if values.dtype != torch.float32:
        return norm(values)
    flat = values.reshape(-1)
    square = sum(torch.dot(block, block).item() for block in _blocks(flat))
    if not math.isfinite(square):
        return None
    # A sum of so many squares in float32 is 0.8 % too small at most, and each square by `tiny`.
    return 1.01 * math.sqrt(square + flat.numel() * torch.finfo(torch.float32).tiny)


def is_finite(values: Tensor) -> bool:
    """Return whether no value is infinite or NaN; values of any floating dtype."""
    return math.isfinite(_square(values)) or bool(finite(values).all())


def finite(values: Tensor) -> Tensor:
    """Return where the values are neither infinite nor NaN; values of any floating dtype."""
    return torch.isfinite(values.double() if values.element_size() == 1 else values)


def _square(values: Tensor) -> float:
    """Return the sum of squares; infinite or NaN where a value is, or where a square overflows."""
    square = 0.0
    is_wide = values.dtype == torch.float64
    for block in _blocks(values.reshape(-1)) if is_wide else _converted(values):
        square += torch.dot(block, block).item()
    return square


def _is_taken_as_it_is(values: Tensor) -> bool:
    """Whether torch is to convert values while it adds them to float64.

    Of one block that takes less time than another call. Of 8 bits it converts none.
    """
    return values.numel() <= BLOCK_VALUES and values.element_size() > 1


def _blocks(tensor: Tensor) -> Sequence[Tensor]:
    flat = tensor.view(-1)
    # Most tensors of small networks are one block, and `split` costs as much as their arithmetic.
    return (flat,) if flat.numel() <= BLOCK_VALUES else torch.split(flat, BLOCK_VALUES)


def _converted(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the values as float64; each block is good until the next one is asked for."""
    flat = tensor.reshape(-1)
    if flat.numel() <= BLOCK_VALUES:
        yield flat.double()
        return
    scratch = torch.empty(min(flat.numel(), BLOCK_VALUES), dtype=torch.float64)
    for block in _blocks(flat):
        yield scratch[: block.numel()].copy_(block)
