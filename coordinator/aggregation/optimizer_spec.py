"""Which optimizer the server has: what `--server-optimizer` says, read and tried."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fanfold.coordinator.aggregation.paper_optimizers import PAPER_OPTIMIZERS
from fanfold.schemas.errors import InvalidInputError

Argument = float | bool | tuple[float, ...]

_SPARSE_OR_CLOSURE = {"LBFGS", "SparseAdam", "Optimizer"}


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """A dense `torch.optim` class, or one of `paper_optimizers`, and its arguments."""

    name: str
    arguments: Mapping[str, Argument]

    @property
    def is_plain_averaging(self) -> bool:
        """Whether this is FedAvg itself: SGD with lr 1 and nothing else."""
        rest = {key: value for key, value in self.arguments.items() if key != "lr"}
        return self.name == "SGD" and self.arguments.get("lr") == 1 and not any(rest.values())

    def make(self, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters.

        Raises:
            TypeError, ValueError: if it does not take such arguments.
        """
        made: type[Any] = PAPER_OPTIMIZERS.get(self.name) or getattr(torch.optim, self.name)
        optimizer: torch.optim.Optimizer = made(parameters, **self.arguments)
        return optimizer


def parse_optimizer(spec: str) -> OptimizerSpec:
    """Read for example `sgd`, `sgd:lr=1,momentum=0.9` or `adam:lr=0.01,betas=0.9/0.99`.

    SGD's lr is 1 unless given. `fedadam`, `fedyogi`, `fedadagrad` and `fadas` are as their papers
    have them.

    Raises:
        InvalidInputError: if torch has no such dense optimizer, or it does not take such arguments.
    """
    word, _, rest = spec.partition(":")
    classes = {
        name.lower(): name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    } | {name: name for name in PAPER_OPTIMIZERS}
    name = classes.get(word.lower())
    if name is None or name in _SPARSE_OR_CLOSURE:
        raise InvalidInputError(
            f"server optimizer {word!r} is no dense torch.optim class without a closure; "
            f"use for example sgd or adam, or one of {', '.join(PAPER_OPTIMIZERS)}"
        )
    arguments: dict[str, Argument] = {"lr": 1.0} if name == "SGD" else {}
    for item in filter(None, rest.split(",")):
        key, _, text = item.partition("=")
        arguments[key] = _argument(item, text)
    parsed = OptimizerSpec(name, arguments)
    if parsed.is_plain_averaging:
        # Nothing to ask torch: its first optimizer loads its compiler, seconds and 300 MB of it.
        return parsed
    trial = torch.nn.Parameter(torch.ones(1))
    trial.grad = torch.ones(1)
    try:
        parsed.make([trial]).step()
    except (TypeError, ValueError, RuntimeError) as error:  # the last one: a rate beyond float32
        whom = "" if name in PAPER_OPTIMIZERS else " by torch"
        raise InvalidInputError(f"server optimizer {spec!r} is refused{whom}: {error}") from None
    return parsed


def _argument(item: str, text: str) -> Argument:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        numbers = tuple(float(number) for number in text.split("/"))
    except ValueError:
        raise InvalidInputError(
            f"server optimizer argument {item!r} must read name=number, name=true or name=0.9/0.999"
        ) from None
    if not all(map(math.isfinite, numbers)):
        raise InvalidInputError(f"server optimizer argument {item!r} must be finite")
    return numbers[0] if len(numbers) == 1 else numbers
