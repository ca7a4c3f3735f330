"""Local training and evaluation.

Nothing here waits for the device between batches: losses and metrics are summed on the device and
read once per pass. Every mean is a mean over examples, so a smaller last batch weighs less.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adagrad
from torch.utils.data import Dataset

from fanfold.learning.batches import dataset_length, make_batches
from fanfold.learning.collation import Loading, batch_length
from fanfold.learning.errors import LearningError, TrainingAbandoned
from fanfold.learning.execution import PLAIN, Execution
from fanfold.learning.measures import Means, Measure, Metrics, classification
from fanfold.learning.optimizers import OptimizerFactory, local_optimizer

TAKES_SPARSE = (SGD, Adagrad)
"""Optimizers that step along sparse gradients as they are."""


@contextmanager
def prepared(network: nn.Module, execution: Execution, *, train: bool) -> Iterator[torch.device]:
    """Move the network to its device and set its mode; the former mode is restored at the end."""
    tensor = next(iter(network.parameters()), torch.empty(0))
    device = execution.device or tensor.device
    if execution.channels_last:
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
    else:
        network.to(device)
    if execution.compiled:
        network.compile()
    was_training = network.training
    network.train(train)
    try:
        yield device
    finally:
        network.train(was_training)


def train(
    network: nn.Module,
    dataset: Dataset[Any],
    measure: Measure,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    opt: str | OptimizerFactory = SGD,
    steps: int | None = None,
    proximal_mu: float = 0.0,
    seed: int | None = None,
    execution: Execution = PLAIN,
    loading: Loading = Loading(),
    length_of: Callable[[Any], int] = batch_length,
) -> list[Metrics]:
    """Train the network in place.

    Args:
        network: those of its parameters that require gradients are trained.
        dataset: map-style; see `fanfold.learning.batches`.
        measure: runs a batch through the network and returns the loss to minimise, and metrics.
        epochs: passes over the dataset; ignored where `steps` is given.
        lr: learning rate.
        batch_size: examples in a batch. The last batch of a pass may be smaller. If it would be a
            single example and the network has batch normalisation, which is not defined for one
            example, it is left out of the pass.
        opt: a `torch.optim` class, a function called as `opt(parameters, lr=lr)`, or a name.
        steps: optimizer steps, over as many passes as needed; None trains for `epochs`.
        proximal_mu: mu of FedProx (Li et al. 2020, eq. 2): mu/2 * |w - w_base|^2 is added to the
            loss, where w_base are the parameters at the start. The loss returned does not include
            it.
        seed: shuffles the passes; None draws one from torch's default generator.
        execution: device, speed, request to stop and reports of progress.
        loading: the task's own sampler and way to make a batch.
        length_of: how many examples a batch holds.

    Returns:
        The metrics of each pass, among them "loss"; the last pass may be incomplete.

    Raises:
        TrainingAbandoned: if `execution.should_stop` returned True.
        LearningError: if the dataset is empty, no parameter requires gradients, or there is no such
            optimizer.
    """
    with prepared(network, execution, train=True) as device:
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not parameters:
            raise LearningError("the network has no parameter that requires gradients")
        base = [parameter.detach().clone() for parameter in parameters] if proximal_mu else []
        factory = local_optimizer(opt) if isinstance(opt, str) else opt
        optimizer = factory(parameters, lr=lr)
        generator = torch.Generator().manual_seed(_drawn_seed() if seed is None else seed)
        batches = make_batches(
            dataset,
            batch_size,
            device=device,
            execution=execution,
            generator=generator,
            drop_last=_sits_out(network, dataset_length(dataset), batch_size, execution),
            loading=loading,
        )
        takes_sparse = isinstance(optimizer, TAKES_SPARSE) and not base
        steps = epochs * len(batches) if steps is None else steps
        step = 0
        history = []
        while step < steps:
            means = Means(device)
            # The range is the first argument: zip stops there before it fetches another batch.
            for _, batch in zip(range(steps - step), batches, strict=False):
                if execution.should_stop is not None and execution.should_stop():
                    raise TrainingAbandoned(step, steps)
                with _precision(device, execution), _in_words():
                    measured = measure(batch)
                _check_loss(measured[0])
                optimizer.zero_grad()
                measured[0].backward()
                if not takes_sparse:
                    _make_dense(parameters)
                for parameter, start in zip(parameters, base, strict=False):
                    if parameter.grad is not None:  # the gradient of the proximal term
                        parameter.grad.add_(parameter.detach() - start, alpha=proximal_mu)
                optimizer.step()
                step += 1
                means.add(measured, length_of(batch))
                if execution.on_step is not None:
                    execution.on_step(step, steps, measured[0].detach())
            history.append(means.read())
        return history


def measure_all(
    network: nn.Module,
    dataset: Dataset[Any],
    measure: Measure,
    *,
    batch_size: int,
    execution: Execution = PLAIN,
    loading: Loading = Loading(),
    length_of: Callable[[Any], int] = batch_length,
) -> Metrics:
    """Return loss and metrics over a dataset, without gradients; arguments as in `train`."""
    with prepared(network, execution, train=False) as device, torch.no_grad():
        means = Means(device)
        batches = make_batches(
            dataset, batch_size, device=device, execution=execution, loading=loading
        )
        for step, batch in enumerate(batches):
            if execution.should_stop is not None and execution.should_stop():
                raise TrainingAbandoned(step, len(batches))
            with _precision(device, execution):
                measured = measure(batch)
            means.add(measured, length_of(batch))
        return means.read()


def fit(  # noqa: PLR0917 - the article's call
    network: nn.Module,
    dataset: Dataset[Any],
    epochs: int,
    lr: float,
    batch_size: int = 128,
    opt: str | OptimizerFactory = SGD,
    *,
    measure: Measure | None = None,
    **options: Any,
) -> list[tuple[float, float]]:
    """Train a classifier in place.

    Args:
        network: [N, ...] -> [N, classes].
        dataset: of (input, label).
        epochs: passes over the dataset.
        lr: learning rate.
        batch_size: examples in a batch.
        opt: a `torch.optim` class, a function called as `opt(parameters, lr=lr)`, or a name.
        measure: used instead of cross-entropy and accuracy.
        **options: any other argument of `train`.

    Returns:
        (mean loss, mean accuracy) of each pass.
    """
    history = train(
        network,
        dataset,
        measure or classification(network),
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        opt=opt,
        **options,
    )
    return [(means["loss"], means["accuracy"]) for means in history]


def evaluate(
    network: nn.Module,
    dataset: Dataset[Any],
    batch_size: int = 128,
    *,
    measure: Measure | None = None,
    execution: Execution = PLAIN,
) -> tuple[float, float]:
    """Return (mean loss, mean accuracy) of a classifier over a dataset of (input, label)."""
    means = measure_all(
        network,
        dataset,
        measure or classification(network),
        batch_size=batch_size,
        execution=execution,
    )
    return means["loss"], means["accuracy"]


def _sits_out(network: nn.Module, num_examples: int, batch_size: int, execution: Execution) -> bool:
    """Whether the last batch is left out: a single example, and a batch normalisation."""
    if batch_size == 1 or num_examples == 1 or num_examples % batch_size != 1:
        return False
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return False
    execution.note(
        f"one of {num_examples} examples sits out every pass: batches of {batch_size} leave it "
        "over, and batch normalisation cannot train on a single one"
    )
    return True


@contextmanager
def _in_words() -> Iterator[None]:
    """Tells what torch says of a batch with one example in a sentence of ours."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise LearningError(
            "batch normalisation cannot train on a single example; there must be two in each batch "
            "at least: more data, a larger --batch-size, or group or layer normalisation"
        ) from error


def _check_loss(loss: Tensor) -> None:
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


def _make_dense(parameters: list[nn.Parameter]) -> None:
    """Gradients of sparse embeddings, for what does not take them."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()


def _precision(device: torch.device, execution: Execution) -> AbstractContextManager[object]:
    # Even a disabled autocast costs some microseconds a batch, which matters to small networks.
    if execution.bfloat16:
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _drawn_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())
