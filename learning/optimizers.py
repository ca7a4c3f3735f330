"""Local optimizers by name."""

from collections.abc import Callable
from functools import partial

import torch
from torch import optim
from torch.optim import Optimizer

from fanfold.learning.errors import LearningError

OptimizerFactory = Callable[..., Optimizer]
"""Called as `factory(parameters, lr=lr)`; a class of `torch.optim` is one."""

# LBFGS needs a closure, SparseAdam sparse gradients: neither can take a plain step.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): kind
    for name, kind in vars(optim).items()
    if isinstance(kind, type)
    and issubclass(kind, Optimizer)
    and kind not in (Optimizer, optim.LBFGS, optim.SparseAdam)
}


def local_optimizer(name: str, momentum: float = 0.0) -> OptimizerFactory:
    """Finds an optimizer.

    Args:
        name: Name of a `torch.optim` class in any case of letters, such as "sgd" or "AdamW".
        momentum: Momentum of SGD; other optimizers ignore it.

    Raises:
        LearningError: There is no dense optimizer of that name.
    """
    kind = OPTIMIZERS.get(name.lower())
    if kind is None:
        known = ", ".join(sorted(OPTIMIZERS))
        raise LearningError(f"there is no optimizer {name!r}; these can be used: {known}")
    return partial(optim.SGD, momentum=momentum) if kind is optim.SGD else kind


def load_optimizers() -> None:
    """Makes torch load what it loads with the first optimizer of a process.

    That is its compiler, a second or two of imports: better now than in the first round.
    """
    optim.SGD([torch.zeros(1)], lr=1.0)
