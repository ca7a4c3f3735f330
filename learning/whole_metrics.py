"""Metrics that are no mean over batches: they see all outputs of an evaluation."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from fanfold.learning.errors import TaskError


class WholeMetric(Protocol):
    """What torchmetrics calls a metric; its own are ones as they are."""

    def update(self, outputs: Any, targets: Any, /) -> None:
        """Takes the outputs and targets of one batch."""

    def compute(self) -> Any:
        """The value of all that was taken since the last reset: a number, or numbers by name."""

    def reset(self) -> None:
        """Forgets what was taken."""


class OverAll:
    """A metric from a function of all outputs and targets, such as those of scikit-learn.

    Args:
        function: Called once per evaluation with the outputs and targets of all batches joined
            along the first dimension, on the CPU; gives a number, or numbers by name.

    Example:
        >>> metric = OverAll(lambda outputs, targets: (outputs - targets).abs().max())
        >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
        >>> float(metric.compute())
        3.0
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        self.function = function
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Keeps a batch, on the CPU."""
        self._outputs.append(outputs.detach().cpu())
        self._targets.append(targets.detach().cpu())

    def compute(self) -> Any:
        """What the function says of everything; raises `TaskError` where there is nothing."""
        if not self._outputs:
            raise TaskError(
                "a metric of the whole evaluation saw no outputs: a `process_batch` of your own "
                "calls `observe(outputs, targets)`"
            )
        return self.function(torch.cat(self._outputs), torch.cat(self._targets))

    def reset(self) -> None:
        """Forgets everything."""
        self._outputs, self._targets = [], []


def computed(metrics: Mapping[str, WholeMetric]) -> dict[str, float]:
    """The values of metrics by name; one that gives several has its own names for them.

    Raises:
        TaskError: A value is no number.
    """
    values: dict[str, float] = {}
    for name, metric in metrics.items():
        value = metric.compute()
        values |= {
            each: _number(each, number)
            for each, number in (value if isinstance(value, Mapping) else {name: value}).items()
        }
    return values


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TaskError(
            f"the metric {name} gives a {type(value).__name__}, and not a single number; let it "
            "average, or give numbers by name"
        ) from error
