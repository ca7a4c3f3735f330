"""One step of local training: forward, backward, and the change of the parameters."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Optimizer

from fanfold.learning.errors import LearningError
from fanfold.learning.measures import Measure, Measured

TAKES_SPARSE = (SGD, Adagrad)
"""Optimizers that step along sparse gradients as they are."""
_DTYPES = (
    r"a batch and the network differ in dtype (\g<0>); give both the same, for instance with "
    "`.float()` in the task's `train_data` and `test_data`"
)
SENTENCES = {
    "more than 1 value per channel": (
        "batch normalisation cannot train on a single example; there must be two in each batch "
        "at least: more data, a larger --batch-size, or group or layer normalisation"
    ),
    r"mat1 and mat2 must have the same dtype.*": _DTYPES,
    r"[Ii]nput type .* and (weight|bias) type .* should be the same": _DTYPES,
    r"input must have the type torch\.\w+, got type torch\.\w+": _DTYPES,
    r"Target (-?\d+) is out of bounds": (
        r"a target is \1, and the network gives no score for it: classes are numbered from 0, and "
        "the network needs a score for each"
    ),
}
"""What torch says of usual mistakes, as patterns, and what we say."""


class Step:
    """Takes a batch, changes the parameters, and returns the loss, detached, and the metrics.

    Args:
        measure: runs a batch through the network and returns the loss and metrics.
        optimizer: changes `parameters`.
        parameters: those of the network that require gradients.
        proximal_mu: mu of FedProx; the term pulls towards the parameters as they are now.
        precision: entered around `measure`.
    """

    def __init__(
        self,
        measure: Measure,
        optimizer: Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        proximal_mu: float,
        precision: AbstractContextManager[object],
    ) -> None:
        self.optimizer = optimizer
        self._measure = measure
        self._parameters = parameters
        self._mu = proximal_mu
        self._base = [each.detach().clone() for each in parameters] if proximal_mu else []
        self._takes_sparse = isinstance(optimizer, TAKES_SPARSE) and not proximal_mu
        self._precision = precision

    def __call__(self, batch: Any) -> Measured:
        """Take one step.

        Raises:
            LearningError: if the loss is no single number, or no parameter has a part in it.
        """
        with self._precision, in_words():
            loss, metrics = self._measure(batch)
        check_loss(loss)
        self.optimizer.zero_grad()
        loss.backward()
        if not self._takes_sparse:
            _make_dense(self._parameters)
        for parameter, start in zip(self._parameters, self._base, strict=False):
            if parameter.grad is not None:  # the gradient of the proximal term
                parameter.grad.add_(parameter.detach() - start, alpha=self._mu)
        self.optimizer.step()
        return loss.detach(), metrics


def precision(device: torch.device, *, bfloat16: bool) -> AbstractContextManager[object]:
    """Return the context that a network computes in, which can be entered repeatedly."""
    # Even a disabled autocast costs some microseconds a batch, which matters to small networks.
    return torch.autocast(device.type, torch.bfloat16) if bfloat16 else nullcontext()


@contextmanager
def in_words() -> Iterator[None]:
    """Tell what torch says of usual mistakes in a sentence that says what to do.

    Raises:
        LearningError: in the place of one that is known.
    """
    try:
        yield
    except (ValueError, RuntimeError, IndexError) as error:
        for words, sentence in SENTENCES.items():
            if found := re.search(words, str(error)):
                raise LearningError(found.expand(sentence)) from error
        raise


def check_loss(loss: Any) -> None:
    """Refuse a loss that nothing can be learned from.

    Raises:
        LearningError: if it is no single number, or no parameter has a part in it.
    """
    if not isinstance(loss, Tensor):
        raise LearningError(
            f"the loss of a batch is a {type(loss).__name__}, and must be a tensor with a single "
            "number, from which gradients flow back"
        )
    if not loss.requires_grad:
        raise LearningError(
            "the loss does not depend on any parameter that is trained: something in `loss` or "
            "`process_batch` cuts it off, or every layer that it uses is frozen"
        )
    if loss.numel() != 1:
        raise LearningError(
            f"the loss of a batch has the shape {list(loss.shape)}, and must be a single number: "
            "the mean over the batch"
        )


def _make_dense(parameters: Sequence[nn.Parameter]) -> None:
    """Gradients of sparse embeddings, for what does not take them."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()
