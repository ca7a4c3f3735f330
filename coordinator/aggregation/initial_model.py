"""The global tensors of a task, and what each of them is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fanfold.coordinator.aggregation.model_form import ModelForm
from fanfold.coordinator.aggregation.running_sum import DELTA, VALUE
from fanfold.learning import (
    Task,
    TaskError,
    build_network,
    frozen_tensors,
    named_parameters,
    seeded,
    shared_tensors,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_table import Kind


def initial_network(task: Task, seed: int) -> nn.Module:
    """Return the network of version 0: the same for the same seed.

    Raises:
        TaskError: if it begins with a file that cannot be read.
    """
    with seeded(seed):
        return build_network(task)


def global_tensors(task: Task, network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the tensors that take part, on the CPU."""
    return _copies(shared_tensors(network, task.shared))


def tensor_kinds(network: nn.Module, names: Mapping[str, Tensor]) -> dict[str, Kind]:
    """Say for each tensor how it travels.

    Floating parameters as deltas, everything else as values.
    """
    parameters = named_parameters(network)
    return {
        name: DELTA if name in parameters and tensor.is_floating_point() else VALUE
        for name, tensor in names.items()
    }


@dataclass(frozen=True, slots=True)
class InitialModel:
    """Version 0, and what does not travel with it."""

    network: nn.Module
    tensors: dict[str, Tensor]
    """Those that travel, on the CPU."""
    kinds: dict[str, Kind]
    form: ModelForm


def initial_model(
    task: Task, seed: int, initial: Path | None = None, *, lora: str = "ffa"
) -> InitialModel:
    """Return version 0 of a task's network: the same for the same seed.

    Frozen parameters (`requires_grad=False`) do not travel where everybody can build them: where
    the task's network, built again with the run's seed, has the same bits.

    Args:
        task: brings the network.
        seed: the run's.
        initial: a safetensors file to begin from.
        lora: "alternate" if both matrices of the task's adapter train, by turns, and so travel.

    Raises:
        LearningError: if the network cannot take part.
        InvalidInputError: if the file cannot be used.
    """
    network = initial_network(task, seed)
    adapter = task.adapter(network)
    if lora == "alternate":
        if adapter is None:
            raise TaskError(
                f"--lora {lora} is for tasks that tune an adapter, and {type(task).__name__} does "
                "not; derive it from fanfold.HFTask, or leave --lora out"
            )
        adapter.train("AB")
    live = shared_tensors(network, task.shared)
    frozen = frozen_tensors(network, live)
    if frozen and len(frozen) == sum(name in live for name in named_parameters(network)):
        raise TaskError(
            "the network shares no parameter that requires gradients: all are frozen, and there is "
            "nothing to train"
        )
    if frozen:
        again = shared_tensors(initial_network(task, seed), task.shared)
        frozen = {name: each for name, each in frozen.items() if again[name].equal(each)}
        del again  # before anything is copied: it is as large as the network
    if initial is None:
        tensors = _copies({name: each for name, each in live.items() if name not in frozen})
    else:
        tensors = _copies(live)
        load_initial(initial, tensors, optional=frozen if adapter is not None else ())
        frozen = {name: each for name, each in frozen.items() if tensors[name].equal(each.cpu())}
        tensors = {name: each for name, each in tensors.items() if name not in frozen}
    kinds = tensor_kinds(network, tensors)
    return InitialModel(network, tensors, kinds, ModelForm.of(network, frozen, adapter))


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu().clone() for name, tensor in tensors.items()}


def load_initial(
    path: Path, tensors: Mapping[str, Tensor], *, optional: Collection[str] = ()
) -> None:
    """Replace the initial tensors in place by those of a safetensors file.

    Those that are `optional` keep their values where the file has none.

    Raises:
        InvalidInputError: if the file cannot be read, or lacks a tensor, or holds one of another
            shape.
    """
    try:
        loaded = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidInputError(
            f"--initial {path} cannot be read as safetensors: {error}"
        ) from None
    loaded = {
        name: torch.view_as_real(tensor) if tensor.is_complex() else tensor
        for name, tensor in loaded.items()
    }
    for name, tensor in tensors.items():
        there = loaded.get(name)
        if there is None and name in optional:
            continue
        if there is None or there.shape != tensor.shape:
            found = "is missing" if there is None else f"has shape {tuple(there.shape)}"
            raise InvalidInputError(
                f"--initial {path}: {name!r} {found}, "
                f"the task's network needs {tuple(tensor.shape)}"
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in loaded:
                tensor.copy_(loaded[name])
