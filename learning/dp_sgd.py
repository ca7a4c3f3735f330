"""DP-SGD through opacus: training with differential privacy for single examples.

Abadi et al. 2016, Deep Learning with Differential Privacy, algorithm 1: every step draws each of n
examples with probability q (Poisson sampling), scales the gradient of each to an L2 norm of at most
C, adds N(0, (z C)^2) to their sum, and divides it by the expected batch size q n. Neighbouring
datasets differ in one example. Opacus computes the gradients of single examples, clips them and
accounts for the privacy spent. Batches and noise come from the operating system's secure source:
if they followed from the run's seed, everybody who knows the seed could remove the noise.

This module needs opacus; the other modules of the package do not import it when they are loaded.
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
    raise LearningError(
        "DP-SGD takes the opacus package: "
        "pip install -e '.[privacy]' in the checkout, or 'FILE.whl[privacy]'"
    ) from None


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
    loading: Loading = Loading(),
    length_of: Callable[[Any], int] = batch_length,
) -> list[Metrics]:
    """Train the network in place; what is not described here is as in `training.train`.

    Args:
        network: without batch normalisation and buffers; see `check`.
        dataset: map-style, of n examples.
        measure: its loss must be a mean of losses, each of which depends on one example alone.
        privacy: clipping bound, noise, and the function that records what is spent.
        epochs: passes of ceil(n / batch_size) steps.
        lr: learning rate.
        batch_size: examples in a batch, on average.
        opt: called as `opt(parameters, lr=lr)`.
        steps: optimizer steps, instead of `epochs`.
        proximal_mu: mu of FedProx. Its gradient depends on no example and is added after the noise.
        execution: device, request to stop and reports of progress.
        loading: the task's own collate function, if any; a sampler of its own is refused.
        length_of: returns the number of examples in a batch.

    Returns:
        For each pass the means over the examples that were drawn; the last entry also holds what
        `privacy.spend` returned.

    Raises:
        LearningError: if the network or the dataset cannot be trained with DP-SGD.
        TrainingAbandoned: if `execution.should_stop` returned True; the privacy of all planned
            steps counts as spent.
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
        # A warning that the first layer's inputs need no gradient: they never do.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        check(network)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        base = [parameter.detach().clone() for parameter in parameters] if proximal_mu else []
        batches = _PoissonBatches(
            dataset, rate, device=device, execution=execution, collate=loading.collate
        )
        expected: Any = rate * length  # opacus says int, and divides by it
        optimizer = _Optimizer(
            opt(parameters, lr=lr),
            noise_multiplier=privacy.noise,
            max_grad_norm=privacy.clip,
            expected_batch_size=expected,
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
    """Refuse a network for which the gradient of a single example is not defined.

    Raises:
        LearningError: if the network has batch normalisation, buffers, or a layer that opacus does
            not support; the network is unchanged.
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
    """Return the epsilon that several trainings have spent together at this delta.

    Opacus's accountant composes their Rényi divergences (Mironov et al. 2019, Rényi Differential
    Privacy of the Sampled Gaussian Mechanism).

    Args:
        spent: (noise multiplier, sampling rate, steps) of each training.
        delta: the probability with which the bound may fail.
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
    """Take one step and return the loss; where no example was drawn, the step is noise alone."""
    optimizer.zero_grad(set_to_none=True)
    length, loss = 0, torch.zeros((), device=means.device)
    if batch is not None:
        length, measured = length_of(batch), measure(batch)
        measured[0].backward()
        means.add(measured, length)
        loss = measured[0].detach()
    parameters: list[Any] = optimizer.params  # opacus adds attributes to them
    for parameter in parameters:
        if parameter.grad_sample is None:  # no example was drawn, or the loss does not depend on it
            parameter.grad_sample = parameter.new_zeros((length, *parameter.shape))
    optimizer.pre_step()
    for parameter, start in zip(parameters, base, strict=False):
        parameter.grad.add_(parameter.detach() - start, alpha=proximal_mu)
    optimizer.original_optimizer.step()
    return loss


class _Optimizer(DPOptimizer):
    """Opacus's optimizer, with noise from the operating system's secure source."""

    def add_noise(self) -> None:
        std = self.noise_multiplier * self.max_grad_norm
        parameters: list[Any] = self.params
        for parameter in parameters:
            summed = parameter.summed_grad
            noisy = summed.cpu().double() + secure_normal(summed.shape, std)
            parameter.grad = noisy.to(device=summed.device, dtype=summed.dtype).view_as(parameter)


class _PoissonBatches:
    """Batches in which every example appears with the same probability, independently."""

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
        """Return the next batch; None where no example was drawn."""
        chosen = (secure_uniform(self._length) <= self._rate).nonzero().flatten()
        if not len(chosen):
            return None
        if self._tensors is None:
            batch = self._collate([self._dataset[index] for index in chosen.tolist()])
        else:
            chosen = chosen.to(self._tensors[0].device)
            batch = tuple(tensor.index_select(0, chosen) for tensor in self._tensors)
        return to_device(batch, self._device, channels_last=self._channels_last)
