"""Local optimizers by name."""

from collections.abc import Callable
from functools import partial

import torch
from torch import optim
from torch.optim import Optimizer

from fanfold.learning.errors import LearningError

OptimizerFactory = Callable[..., Optimizer]
"""Called as `factory(parameters, lr=lr)`; a class of `torch.optim` is one."""

# LBFGS needs a closure and SparseAdam sparse gradients, so the training loop can use neither.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): kind
    for name, kind in vars(optim).items()
    if isinstance(kind, type)
    and issubclass(kind, Optimizer)
    and kind not in (Optimizer, optim.LBFGS, optim.SparseAdam)
}


def local_optimizer(name: str, momentum: float = 0.0) -> OptimizerFactory:
    """Find an optimizer by name.

    Args:
        name: a class of `torch.optim`, such as "sgd" or "AdamW"; upper and lower case are the same.
        momentum: momentum of SGD; ignored for other optimizers.

    Raises:
        LearningError: if there is no dense optimizer of that name.
    """
    kind = OPTIMIZERS.get(name.lower())
    if kind is None:
        known = ", ".join(sorted(OPTIMIZERS))
        raise LearningError(f"there is no optimizer {name!r}; these can be used: {known}")
    return partial(optim.SGD, momentum=momentum) if kind is optim.SGD else kind


def load_optimizers() -> None:
    """Import what torch imports when the first optimizer of a process is made.

    That is its compiler, which takes a second or two: better at the start than in the first round.
    """
    optim.SGD([torch.zeros(1)], lr=1.0)
