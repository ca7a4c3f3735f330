"""Facts about server optimizers as their papers have them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from fanfold.coordinator.aggregation.paper_optimizers import PAPER_OPTIMIZERS, Fadas


def steps(name: str, deltas: list[Tensor], **arguments: Any) -> Tensor:
    parameter = Parameter(torch.zeros_like(deltas[0]))
    optimizer = PAPER_OPTIMIZERS[name](
        [parameter], **arguments
    )  # torch's own base declares other arguments
    for delta in deltas:
        parameter.grad = -delta
        optimizer.step()
    return parameter.detach()


def reference(name: str, deltas: list[float], lr: float, betas: Any, tau: float) -> float:
    """Return Reddi et al. 2021, algorithm 2, line by line."""
    x, m, v = 0.0, 0.0, tau**2
    for delta in deltas:
        m = betas[0] * m + (1 - betas[0]) * delta
        square = delta * delta
        if name == "fedadagrad":
            v = v + square
        elif name == "fedyogi":
            v = v - (1 - betas[1]) * square * math.copysign(1, v - square)
        else:
            v = betas[1] * v + (1 - betas[1]) * square
        x = x + lr * m / (math.sqrt(v) + tau)
    return x


@pytest.mark.parametrize("name", ["fedadagrad", "fedyogi", "fedadam"])
def test_it_is_algorithm_2(name: str) -> None:
    """Ten rounds in float64 agree with the paper's lines, for each coordinate by itself."""
    generator = torch.Generator().manual_seed(3)
    deltas = list(torch.randn(10, 4, generator=generator, dtype=torch.float64))
    made = steps(name, deltas, lr=0.3, betas=(0.8, 0.95), tau=0.02)
    for at in range(4):
        column = [float(delta[at]) for delta in deltas]
        assert float(made[at]) == pytest.approx(
            reference(name, column, 0.3, (0.8, 0.95), 0.02), abs=1e-12
        )


def test_fadas_slows_down_by_the_largest_staleness() -> None:
    """Rounds of (.3,-.1,.4), (.2,.2,.5), (-.1,.1,-.3) with staleness up to 3, 1 and 40."""
    parameter = Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = Fadas([parameter], lr=0.1, betas=(0.9, 0.99), eps=1e-3, tau_c=1.0)
    seen = []
    for deltas, staleness in (((0.3, -0.1, 0.4), 3), ((0.2, 0.2, 0.5), 1), ((-0.1, 0.1, -0.3), 40)):
        optimizer.largest_staleness = staleness
        parameter.grad = torch.tensor([-sum(deltas) / 3], dtype=torch.float64)
        optimizer.step()
        seen.append(float(parameter.detach()))
    assert seen == pytest.approx([0.095238095, 0.224967825, 0.246701692], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("fedadam", {"lr": -1.0}, "lr must be a number from 0"),
        ("fedyogi", {"betas": (0.9, 1.0)}, "betas must be two numbers from 0 to less than 1"),
        ("fedadagrad", {"tau": 0.0}, "tau must be a number above 0"),
        ("fadas", {"tau_c": True}, "tau_c must be a number from 0"),
        ("fadas", {"betas": 0.9}, "betas must be two numbers from 0 to less than 1"),
    ],
)
def test_arguments_out_of_range_are_refused(
    name: str, arguments: dict[str, Any], problem: str
) -> None:
    """With a reason."""
    with pytest.raises(ValueError, match=problem):
        steps(name, [torch.zeros(1)], **arguments)
