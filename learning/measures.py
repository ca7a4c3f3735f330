"""Loss and metrics of a batch, and their means over examples."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fanfold.learning.errors import LearningError

Metrics = dict[str, float]
"""Means over examples by name; "loss" is always among them."""

Measured = tuple[Tensor, Mapping[str, Tensor]]
"""The loss of one batch and its metrics by name: 0-dim tensors, means over the batch."""

Measure = Callable[[Any], Measured]
"""Runs a batch through the network and returns its loss and metrics."""


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of labels that have the largest output, a 0-dim tensor.

    Args:
        outputs: [N, classes, ...].
        labels: [N, ...], integers.
    """
    with torch.no_grad():
        return (outputs.argmax(1) == labels).float().mean()


def measure_with(process_batch: Callable[[Any], tuple[Tensor, Tensor]]) -> Measure:
    """Return a `Measure` that calls a function which returns (loss, accuracy) of a batch."""

    def measure(batch: Any) -> Measured:
        loss, batch_accuracy = process_batch(batch)
        return loss, {"accuracy": batch_accuracy}

    return measure


def classification(network: nn.Module) -> Measure:
    """Return a `Measure` of cross-entropy and accuracy for batches (inputs, labels)."""

    def process_batch(batch: Any) -> tuple[Tensor, Tensor]:
        inputs, labels = batch
        outputs = network(inputs)
        return cross_entropy(outputs, labels), accuracy(outputs, labels)

    return measure_with(process_batch)


class Means:
    """Running means over examples, kept on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.dtype = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
        self.totals: dict[str, Tensor] = {}
        self.num_examples = 0

    def add(self, measured: Measured, num_examples: int) -> None:
        """Add the means of one batch.

        Raises:
            LearningError: if one of them is no single number.
        """
        loss, metrics = measured
        if not isinstance(metrics, Mapping):
            raise LearningError(
                f"the metrics of a batch are {_described(metrics)}, and must be a dict of tensors "
                "by name; {} for none"
            )
        self.num_examples += num_examples
        for name, mean in (("loss", loss), *metrics.items()):
            if not isinstance(mean, Tensor) or mean.numel() != 1:
                raise LearningError(
                    f"the metric {name} of a batch is {_described(mean)}, and must be a tensor "
                    "with a single number: the mean over the batch"
                )
            if name not in self.totals:
                self.totals[name] = torch.zeros((), dtype=self.dtype, device=self.device)
            self.totals[name].add_(mean.detach().reshape(()), alpha=num_examples)

    def read(self) -> Metrics:
        """Return the means; waits for the device once, for all of them.

        Raises:
            LearningError: if no batch was added.
        """
        if not self.num_examples:
            raise LearningError(
                "the dataset gave not a single batch, whatever its length says; an iterable one "
                "has to begin anew with every pass"
            )
        totals = torch.stack(list(self.totals.values())).tolist()
        return {
            name: total / self.num_examples for name, total in zip(self.totals, totals, strict=True)
        }


def passes_of(history: Any) -> list[Metrics]:
    """Return the metrics of each pass, as a task's `fit` gives them; none where it gives None.

    Raises:
        LearningError: if it gives anything else.
    """
    if history is None:
        return []
    if not isinstance(history, list) or not all(isinstance(each, Mapping) for each in history):
        raise LearningError(
            "the task's `fit` must return a list with one dict of metrics for each pass, or None, "
            f"and it returns {_described(history)}"
        )
    return [_numbers(each, "fit") for each in history]


def metrics_of(measured: Any) -> Metrics:
    """Return what a task's `evaluate` gives, as plain numbers.

    Raises:
        LearningError: if it is no dict of numbers.
    """
    if not isinstance(measured, Mapping):
        raise LearningError(
            "the task's `evaluate` must return a dict of numbers by name, and it returns "
            f"{_described(measured)}"
        )
    return _numbers(measured, "evaluate")


def _numbers(values: Mapping[Any, Any], method: str) -> Metrics:
    numbers = {}
    for name, value in values.items():
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LearningError(
                f"the metric {name} that the task's `{method}` returns is {_described(value)}, and "
                "must be a number"
            ) from error
    return numbers


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of the shape {list(value.shape)}"
    return f"a {type(value).__name__}"
