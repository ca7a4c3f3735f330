"""Differential privacy's operations on tensors: clip their joint norm, and add secure noise.

The mechanism is the Gaussian one of DP-FedAvg (McMahan et al. 2018, Learning Differentially Private
Recurrent Language Models, algorithm 1): an update is scaled to an L2 norm of at most C over all of
its tensors together, and N(0, (z C)^2) is added to every value.
"""

import math
import os
from collections.abc import Mapping

import torch
from torch import Tensor

_BLOCK = 1 << 18
"""Values drawn at a time: memory stays small, whatever the size of the tensor."""
_SUMMED = 4
"""Normal values summed into one. The floating-point values of one normal sample have gaps, from
which the value that the noise was added to can be found; a sum of several samples has no such gaps
(Holohan and Braghin 2021, Secure Random Sampling in Differential Privacy, section 4)."""


def joint_norm(tensors: Mapping[str, Tensor]) -> float:
    """Return the L2 norm of all values of all tensors together, computed in float64."""
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors.values()]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0


def clip_factor(norm: float, bound: float) -> float:
    """Return the factor that scales a vector of this norm down to `bound`; 1 if it is shorter."""
    return 1.0 if norm <= bound else bound / norm


def secure_normal(shape: torch.Size, std: float) -> Tensor:
    """Draw values of N(0, std^2), float64, from the operating system's secure source.

    All randomness is read with `os.urandom`. It follows from no seed: every participant knows the
    run's, and could subtract the noise.
    """
    count = math.prod(shape)
    noise = torch.empty(count, dtype=torch.float64)
    for begin in range(0, count, _BLOCK):
        block = noise[begin : begin + _BLOCK]
        block.zero_()
        for _ in range(_SUMMED):
            block.add_(_standard_normal(block.numel()))
    return noise.mul_(std / math.sqrt(_SUMMED)).reshape(shape)


def secure_discrete_gaussian(count: int, std: float) -> Tensor:
    """Draw integers x with probability proportional to exp(-x^2 / (2 std^2)), int64.

    Canonne, Kamath and Steinke 2020, The Discrete Gaussian for Differential Privacy, algorithms 2
    and 3, for many values at a time. Coins are compared in float64. No floating-point value is in
    what is sent, so that it has no gaps to find the values behind it by.

    Args:
        count: of the values.
        std: of one value, above 0.
    """
    drawn = torch.empty(count, dtype=torch.int64)
    filled = 0
    while filled < count:
        accepted = _discrete_gaussians(min(2 * (count - filled) + 64, _BLOCK), std)
        taken = accepted[: count - filled]
        drawn[filled : filled + len(taken)] = taken
        filled += len(taken)
    return drawn


def _discrete_gaussians(tries: int, std: float) -> Tensor:
    """Return those of so many discrete Laplace values of scale t that a coin accepts."""
    scale = math.floor(std) + 1
    rest = (secure_uniform(tries) * scale).ceil().sub_(1.0)
    is_kept = secure_uniform(tries) <= torch.exp(-rest / scale)
    whole = torch.floor(-torch.log(secure_uniform(tries)))  # geometric, of exp(-1)
    size = rest + scale * whole
    is_negative = secure_uniform(tries) <= 1 / 2
    is_kept &= ~(is_negative & (size == 0))
    coin = torch.exp(-((size - std * std / scale) ** 2) / (2 * std * std))
    is_kept &= secure_uniform(tries) <= coin
    return torch.where(is_negative, -size, size)[is_kept].to(torch.int64)


def _standard_normal(count: int) -> Tensor:
    """Draw by Box and Muller's method: two uniform values give two normal ones."""
    pairs = (count + 1) // 2
    radius = torch.sqrt(-2.0 * torch.log(secure_uniform(pairs)))
    angle = 2.0 * math.pi * secure_uniform(pairs)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)])[:count]


def secure_uniform(count: int) -> Tensor:
    """Draw values in (0, 1], multiples of 2^-53, from the operating system's secure source."""
    bits = torch.frombuffer(bytearray(os.urandom(8 * count)), dtype=torch.int64)
    mantissa = bits.bitwise_and((1 << 53) - 1)
    return (mantissa + 1).double() * 2.0**-53
