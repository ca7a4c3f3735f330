"""DP-SGD through opacus: a training that tells little of any one example.

Abadi et al. 2016, Deep Learning with Differential Privacy, algorithm 1: every step draws each of n
examples with probability q (Poisson sampling), scales the gradient of each to an L2 norm of at most
C, adds N(0, (z C)^2) to their sum, and divides it by the expected batch size q n. Neighbouring
datasets differ in one example. Opacus finds the gradients, clips and counts; batches and noise come
from the operating system's secure source, for whoever knows the run's seed would know them too.

Importing this needs opacus, so nothing else here does.
"""

import warnings
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset, IterableDataset

from fanfold.learning.batches import dataset_length, dataset_tensors, resident
from fanfold.learning.collation import Collate, Collated, Loading, batch_length
from fanfold.learning.device import to_device
from fanfold.learning.errors import LearningError, TrainingAbandoned
from fanfold.learning.example_privacy import ExamplePrivacy
from fanfold.learning.execution import PLAIN, Execution
from fanfold.learning.measures import Means, Measure, Metrics
from fanfold.learning.optimizers import OptimizerFactory
from fanfold.learning.privacy import secure_normal, secure_uniform
from fanfold.learning.training import prepared

try:
    from opacus.accountants import RDPAccountant
    from opacus.grad_sample.grad_sample_module import GradSampleHooks
    from opacus.optimizers import DPOptimizer
    from opacus.validators import ModuleValidator
except ImportError:
    raise LearningError("DP-SGD takes the opacus package: pip install 'fanfold[privacy]'") from None


def train(
    network: nn.Module,
    dataset: Dataset[Any],
    measure: Measure,
    *,
    privacy: ExamplePrivacy,
    epochs: int,
    lr: float,
    batch_size: int,
    opt: OptimizerFactory,
    steps: int | None = None,
    proximal_mu: float = 0.0,
    execution: Execution = PLAIN,
    loading: Loading = Loading(),  # noqa: B008 - it is frozen
    length_of: Callable[[Any], int] = batch_length,
) -> list[Metrics]:
    """Trains the network in place; what is not said here is as in `training.train`.

    Args:
        network: Without batch normalisation and buffers; see `check`.
        dataset: Map-style, of n examples.
        measure: Its loss must be the mean of losses that each follow from one example alone.
        privacy: Clip, noise, and who counts.
        epochs: Passes of ceil(n / batch_size) steps.
        lr: Learning rate.
        batch_size: Examples in a batch, on average.
        opt: Called as `opt(parameters, lr=lr)`.
        steps: Steps in place of epochs.
        proximal_mu: mu of FedProx; its term knows no example and is added behind the noise.
        execution: Device, request to stop and reports of progress.
        loading: How the task makes a batch; a sampler of its own is refused.
        length_of: How many examples a batch holds.

    Returns:
        The means of each pass over what was drawn; the last has what `privacy.spend` said, too.

    Raises:
        LearningError: The network cannot be trained so.
        TrainingAbandoned: `execution.should_stop` said so; its steps count as taken.
    """
    if loading.sampler is not None or isinstance(dataset, IterableDataset):
        raise LearningError(
            "DP-SGD draws its examples itself: it takes neither a task's `sampler` nor an iterable "
            "dataset"
        )
    length = dataset_length(dataset)
    rate, per_pass = min(1.0, batch_size / length), ceil(length / batch_size)
    steps = epochs * per_pass if steps is None else steps
    history: list[Metrics] = []
    with prepared(network, execution, train=True) as device, warnings.catch_warnings():
        # The first layer's inputs need no gradient, and that is as it should be.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        check(network)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        base = [parameter.detach().clone() for parameter in parameters] if proximal_mu else []
        batches = _PoissonBatches(
            dataset, rate, device=device, execution=execution, collate=loading.collate
        )
        optimizer = _Optimizer(
            opt(parameters, lr=lr),
            noise_multiplier=privacy.noise,
            max_grad_norm=privacy.clip,
            expected_batch_size=rate * length,
        )
        spent = privacy.spend(rate, steps) if steps else {}
        hooks = GradSampleHooks(network)
        try:
            for step in range(steps):
                if execution.should_stop is not None and execution.should_stop():
                    raise TrainingAbandoned(step, steps)
                if step % per_pass == 0:
                    means = Means(device)
                loss = _step(
                    batches.draw(),
                    measure,
                    length_of,
                    optimizer,
                    means,
                    base=base,
                    proximal_mu=proximal_mu,
                )
                if execution.on_step is not None:
                    execution.on_step(step + 1, steps, loss)
                if (step + 1) % per_pass == 0 or step + 1 == steps:
                    history.append(means.read() if means.num_examples else {})
        finally:
            hooks.cleanup()
    if history:
        history[-1] |= spent
    return history


def check(network: nn.Module) -> None:
    """Refuses what no gradient of a single example can be told of.

    Raises:
        LearningError: In words; the network is as before.
    """
    mixing = [name for name, part in network.named_modules() if isinstance(part, _BatchNorm)]
    if mixing:
        raise LearningError(
            f"DP-SGD does not go with batch normalisation ({', '.join(mixing[:3])}), which mixes "
            "the examples of a batch; use group or layer normalisation"
        )
    if buffers := [name for name, _ in network.named_buffers()]:
        raise LearningError(
            f"DP-SGD does not go with buffers ({', '.join(buffers[:3])}), which no noise guards; "
            "leave them out of the network"
        )
    was_training = network.training
    errors = ModuleValidator.validate(network.train(), strict=False)
    network.train(was_training)
    if errors:
        raise LearningError(f"DP-SGD cannot train this network: {errors[0]}")


def epsilon(spent: Sequence[tuple[float, float, int]], delta: float) -> float:
    """The privacy spent by trainings, each told as (noise, sampling rate, steps).

    Opacus's accountant composes their Rényi divergences (Mironov et al. 2019, Rényi Differential
    Privacy of the Sampled Gaussian Mechanism).
    """
    accountant = RDPAccountant()
    accountant.history = list(spent)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # the bound holds
        return float(accountant.get_epsilon(delta))


def _step(
    batch: Any,
    measure: Measure,
    length_of: Callable[[Any], int],
    optimizer: "_Optimizer",
    means: Means,
    *,
    base: Sequence[Tensor],
    proximal_mu: float,
) -> Tensor:
    """Takes one step, of noise alone where nothing was drawn; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    length, loss = 0, torch.zeros((), device=means.device)
    if batch is not None:
        length, measured = length_of(batch), measure(batch)
        measured[0].backward()  # type: ignore[no-untyped-call]  # torch
        means.add(measured, length)
        loss = measured[0].detach()
    for parameter in optimizer.params:
        if parameter.grad_sample is None:  # nothing was drawn, or it took no part
            parameter.grad_sample = parameter.new_zeros((length, *parameter.shape))
    optimizer.pre_step()
    for parameter, start in zip(optimizer.params, base, strict=False):
        parameter.grad.add_(parameter.detach() - start, alpha=proximal_mu)
    optimizer.original_optimizer.step()
    return loss


class _Optimizer(DPOptimizer):  # type: ignore[misc]  # opacus has no complete types
    """Opacus's, with noise that nobody can guess."""

    def add_noise(self) -> None:
        std = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            summed = parameter.summed_grad
            noisy = summed.cpu().double() + secure_normal(summed.shape, std)
            parameter.grad = noisy.to(device=summed.device, dtype=summed.dtype).view_as(parameter)


class _PoissonBatches:
    """Every example is in every batch with the same probability, whatever else is in it."""

    def __init__(
        self,
        dataset: Dataset[Any],
        rate: float,
        *,
        device: torch.device,
        execution: Execution,
        collate: Collate | None,
    ) -> None:
        self._dataset: Any = resident(dataset, device, execution.resident_bytes)
        self._tensors = dataset_tensors(self._dataset) if collate is None else None
        self._collate = collate or Collated()
        self._length = dataset_length(dataset)
        self._rate = rate
        self._device = device
        self._channels_last = execution.channels_last

    def draw(self) -> Any:
        """The next batch; None where nothing was drawn."""
        chosen = (secure_uniform(self._length) <= self._rate).nonzero().flatten()
        if not len(chosen):
            return None
        if self._tensors is None:
            batch = self._collate([self._dataset[index] for index in chosen.tolist()])
        else:
            chosen = chosen.to(self._tensors[0].device)
            batch = tuple(tensor.index_select(0, chosen) for tensor in self._tensors)
        return to_device(batch, self._device, channels_last=self._channels_last)
