"""Local training and evaluation.

Nothing here waits for the device between batches: losses and metrics are summed on the device and
read once per pass. Every mean is a mean over examples, so a smaller last batch weighs less.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD
from torch.utils.data import Dataset

from fanfold.learning.batches import dataset_length, make_batches
from fanfold.learning.collation import Loading, batch_length
from fanfold.learning.cuda_graphs import CudaRecorder, Replays, Run
from fanfold.learning.errors import LearningError, TrainingAbandoned
from fanfold.learning.execution import PLAIN, Execution
from fanfold.learning.measures import Means, Measure, Metrics, classification
from fanfold.learning.optimizers import OptimizerFactory, local_optimizer
from fanfold.learning.step import Step, precision
from fanfold.learning.tensor_batches import TensorBatches


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
    with prepared(network, execution, train=True) as device, torch.enable_grad():
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not parameters:
            raise LearningError("the network has no parameter that requires gradients")
        factory = local_optimizer(opt) if isinstance(opt, str) else opt
        one = Step(
            measure,
            factory(parameters, lr=lr),
            parameters,
            proximal_mu=proximal_mu,
            precision=precision(device, bfloat16=execution.bfloat16),
        )
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
        take_step: Run = one
        if execution.cuda_graphs and device.type == "cuda":
            is_gathered = isinstance(batches, TensorBatches)
            take_step = Replays(one, CudaRecorder(one.optimizer, is_gathered=is_gathered))
        steps = epochs * len(batches) if steps is None else steps
        step = 0
        history = []
        while step < steps:
            means = Means(device)
            # The range is the first argument: zip stops there before it fetches another batch.
            for _, batch in zip(range(steps - step), batches, strict=False):
                if execution.should_stop is not None and execution.should_stop():
                    raise TrainingAbandoned(step, steps)
                measured = take_step(batch)
                step += 1
                means.add(measured, length_of(batch))
                if execution.on_step is not None:
                    execution.on_step(step, steps, measured[0])
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
    """Return loss and metrics over a dataset, without gradients; arguments as in `train`.

    Raises:
        TrainingAbandoned: if `execution.should_stop` says so.
    """
    with prepared(network, execution, train=False) as device, torch.no_grad():
        means = Means(device)
        batches = make_batches(
            dataset, batch_size, device=device, execution=execution, loading=loading
        )
        for step, batch in enumerate(batches):
            if execution.should_stop is not None and execution.should_stop():
                raise TrainingAbandoned(step, len(batches))
            with precision(device, bfloat16=execution.bfloat16):
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


def _drawn_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())
