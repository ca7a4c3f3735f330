"""The outputs of networks, and the default loss over them."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fanfold.learning.errors import TaskError
from fanfold.learning.walk import unwrapped

SCORES = ("logits", "out")
"""Names of the main output where there are several: in transformers and in torchvision."""
LABELS = ("labels", "label", "targets", "target")
"""Names of the targets in a batch that is a dict."""
INPUTS_AND_TARGETS = 2
"""Entries of a batch that is a pair."""


def main_output(outputs: Any) -> Tensor:
    """Return the output that loss and metrics use, where a network returns more than one.

    Of named outputs (a dict, an output object of transformers) that is `logits` or `out`, otherwise
    the first tensor; of a tuple the first tensor.

    Raises:
        TaskError: if there is no tensor among the outputs.
    """
    inner: Any = None
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and outputs:
        inner = next((outputs[name] for name in SCORES if name in outputs), None)
        inner = next(iter(outputs.values())) if inner is None else inner
    elif isinstance(outputs, list | tuple) and outputs:
        inner = outputs[0]
    if inner is None:
        raise TaskError(
            f"the network gives a {type(outputs).__name__} with no tensor to look at; write the "
            "task's `process_batch`"
        )
    return main_output(inner)


def classification_loss(outputs: Any, targets: Any) -> Tensor:
    """Return the cross-entropy of the main output [N, classes, ...] and labels [N, ...], 0-dim.

    Raises:
        TaskError: if the output holds no scores of classes, or the targets are no labels.
    """
    scores = main_output(outputs)
    if not isinstance(targets, Tensor):
        raise TaskError(
            f"the targets of a batch are no tensor but {_described(targets)}; let the dataset give "
            "each class as an integer, or write the task's `loss`"
        )
    if scores.dim() <= 1 or scores.shape[1] <= 1:  # with one class there is no choice
        raise TaskError(
            "the default loss needs scores of two classes or more, [N, classes, ...], and the "
            f"network gives {list(scores.shape)}; write the task's `loss`, for numbers for example "
            "torch.nn.functional.mse_loss"
        )
    if targets.shape == scores.shape:  # a probability for each class
        return cross_entropy(scores, targets.to(scores.dtype))
    expected = scores.shape[:1] + scores.shape[2:]
    if targets.shape != expected or targets.is_floating_point():
        raise TaskError(
            f"the default loss needs targets {list(expected)}, the number of a class each, or "
            f"{list(scores.shape)}, a probability for each class, and a batch has "
            f"{list(targets.shape)} of {str(targets.dtype).removeprefix('torch.')}; change what "
            "the dataset gives, or write the task's `loss`, for numbers for example "
            "torch.nn.functional.mse_loss"
        )
    return cross_entropy(scores, targets.long())


def divide_batch(batch: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch: a pair, or a dict with `labels`.

    Raises:
        TaskError: if it is neither.
    """
    if isinstance(batch, Mapping):
        name = next((name for name in LABELS if name in batch), None)
        if name is not None:
            return batch, batch[name]
        kind = f"a dict with {', '.join(map(str, batch))}"
    elif isinstance(batch, list | tuple) and len(batch) == INPUTS_AND_TARGETS:
        return batch[0], batch[1]
    else:
        kind = _described(batch)
    raise TaskError(
        f"a batch is {kind}, and not (inputs, targets) or a dict with labels; write the task's "
        "`process_batch`, which says what of it goes into the network"
    )


def run_network(network: nn.Module, inputs: Any) -> Any:
    """Call the network; a dict's values go by name to the arguments that `forward` has.

    Raises:
        TaskError: if it has none of these names.
    """
    if not isinstance(inputs, Mapping):
        return network(inputs)
    parameters = inspect.signature(unwrapped(network).forward).parameters.values()
    names = {each.name for each in parameters}
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        names |= inputs.keys()
    taken = {name: value for name, value in inputs.items() if name in names}
    if not taken:
        raise TaskError(
            f"the network takes {', '.join(names) or 'nothing'}, and a batch has "
            f"{', '.join(map(str, inputs))}; write the task's `process_batch`"
        )
    return network(**taken)


def own_loss(outputs: Any) -> Tensor | None:
    """Return the loss that a network computed itself, as those of transformers do; None if none."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
    return loss if isinstance(loss, Tensor) else None


def _described(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return f"{len(value)} values such as {value[0]!r:.40}"
    return f"a {type(value).__name__}"
