"""Server optimizers as their papers have them, where torch's own differ.

The gradient of a parameter is minus the round's step, as everywhere; D below is the step itself.
None of them corrects the bias of its averages.

- `fedadagrad`, `fedyogi`, `fedadam` (Reddi et al. 2021, Adaptive Federated Optimization, algorithm
  2): m = b1 m + (1 - b1) D; v = v + D^2, or v - (1 - b2) D^2 sign(v - D^2), or b2 v + (1 - b2) D^2;
  x = x + lr m / (sqrt(v) + tau). v begins at tau^2.
- `fadas` (Wang et al. 2024, FADAS, arXiv 2407.18365): m and v as with fedadam, v from 0,
  h = max(h, v); x = x + lr_t m / (sqrt(h) + eps). lr_t is lr where no update of the round is staler
  than tau_c, else the smaller of lr and 1 over the largest staleness of the round.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer


class _Adaptive(Optimizer):
    """What the four have in common: two averages for each parameter, and no bias correction."""

    def __init__(self, params: Iterable[Parameter], defaults: dict[str, Any]) -> None:
        wrong = [
            f"{name} must be {bound}"
            for name, value in defaults.items()
            if (problem := _BOUNDS.get(name)) is not None
            for is_right, bound in (problem,)
            if not is_right(value)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # none takes a closure
        """Move every parameter that has a gradient."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, -parameter.grad, self.state[parameter], group)

    def _move(
        self, parameter: Parameter, step: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        raise NotImplementedError


class _Reddi(_Adaptive):
    """Algorithm 2; the second moment is what tells the three apart."""

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
        tau: float = 1e-3,
    ) -> None:
        """Take `lr` (eta), `betas` and `tau`, the degree of adaptivity."""
        super().__init__(params, {"lr": lr, "betas": betas, "tau": tau})

    def _move(
        self, parameter: Parameter, step: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        if not state:
            state["m"] = torch.zeros_like(parameter)
            state["v"] = torch.full_like(parameter, group["tau"] ** 2)
        first, second = group["betas"]
        state["m"].lerp_(step, 1 - first)
        self._second_moment(state["v"], step.square(), second)
        parameter.addcdiv_(state["m"], state["v"].sqrt().add_(group["tau"]), value=group["lr"])

    def _second_moment(self, v: Tensor, square: Tensor, beta: float) -> None:
        raise NotImplementedError


class FedAdagrad(_Reddi):
    """The sum of squares."""

    def _second_moment(self, v: Tensor, square: Tensor, beta: float) -> None:
        del beta
        v.add_(square)


class FedYogi(_Reddi):
    """Goes toward the square by a part of the square, not of the difference."""

    def _second_moment(self, v: Tensor, square: Tensor, beta: float) -> None:
        v.sub_((v - square).sign_().mul_(square), alpha=1 - beta)


class FedAdam(_Reddi):
    """A mean that forgets."""

    def _second_moment(self, v: Tensor, square: Tensor, beta: float) -> None:
        v.lerp_(square, 1 - beta)


class Fadas(_Adaptive):
    """AMSGrad without bias correction, slower in rounds that hold very stale updates."""

    largest_staleness: int = 0
    """Of the round's updates; set before each step."""

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        tau_c: float = 1.0,
    ) -> None:
        """Take `lr` (eta), `betas`, `eps`, and `tau_c`, the staleness that is still none."""
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "tau_c": tau_c})

    def _move(
        self, parameter: Parameter, step: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        if not state:
            state |= {name: torch.zeros_like(parameter) for name in ("m", "v", "v_max")}
        first, second = group["betas"]
        state["m"].lerp_(step, 1 - first)
        state["v"].lerp_(step.square(), 1 - second)
        torch.maximum(state["v_max"], state["v"], out=state["v_max"])
        rate = group["lr"]
        if self.largest_staleness > group["tau_c"]:
            rate = min(rate, 1 / self.largest_staleness)
        parameter.addcdiv_(state["m"], state["v_max"].sqrt().add_(group["eps"]), value=rate)


PAPER_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "fedadagrad": FedAdagrad,
    "fedyogi": FedYogi,
    "fedadam": FedAdam,
    "fadas": Fadas,
}
"""By the names of the command line."""

NUM_BETAS = 2
"""One for the mean of the steps, one for that of their squares."""
_POSITIVE = (lambda value: isinstance(value, float) and value > 0, "a number above 0")
_BOUNDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lr": (lambda value: isinstance(value, float) and value >= 0, "a number from 0"),
    "betas": (
        lambda value: (
            isinstance(value, tuple)
            and len(value) == NUM_BETAS
            and all(0 <= each < 1 for each in value)
        ),
        "two numbers from 0 to less than 1, such as 0.9/0.99",
    ),
    "tau": _POSITIVE,
    "eps": _POSITIVE,
    "tau_c": (
        lambda value: isinstance(value, float) and 0 <= value < math.inf,
        "a number from 0",
    ),
}
