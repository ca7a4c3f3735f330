"""Metrics that are no means over batches: they are computed from all outputs of an evaluation."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from fanfold.learning.errors import TaskError


class WholeMetric(Protocol):
    """A metric as torchmetrics defines it; metrics of torchmetrics can be used unchanged."""

    def update(self, outputs: Any, targets: Any, /) -> None:
        """Take in the outputs and targets of one batch."""

    def compute(self) -> Any:
        """Return the metric over all batches since the last reset: a number, or numbers by name."""
        ...

    def reset(self) -> None:
        """Forget all batches."""


class OverAll:
    """A metric from a function of all outputs and targets, such as those of scikit-learn.

    Args:
        function: called once per evaluation with the outputs and targets of all batches joined
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
        """Keep a batch, on the CPU."""
        self._outputs.append(outputs.detach().cpu())
        self._targets.append(targets.detach().cpu())

    def compute(self) -> Any:
        """Return the function's value for all outputs and targets.

        Raises:
            TaskError: if there were no outputs.
        """
        if not self._outputs:
            raise TaskError(
                "a metric of the whole evaluation saw no outputs: a `process_batch` of your own "
                "calls `observe(outputs, targets)`"
            )
        return self.function(torch.cat(self._outputs), torch.cat(self._targets))

    def reset(self) -> None:
        """Forget all batches."""
        self._outputs, self._targets = [], []


def computed(metrics: Mapping[str, WholeMetric]) -> dict[str, float]:
    """Return the values of metrics by name; a metric of several numbers names them itself.

    Raises:
        TaskError: if a value is no number.
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
