"""The global tensors of a task, and what each of them is."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fanfold.coordinator.aggregation.running_sum import DELTA, VALUE
from fanfold.learning import Task, reading, seeded, shared_tensors
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_table import Kind


def initial_network(task: Task, seed: int) -> nn.Module:
    """Return the network of version 0: the same for the same seed.

    Raises:
        TaskError: if it begins with a file that cannot be read.
    """
    with seeded(seed), reading(task.data_dir):
        return task.network()


def global_tensors(task: Task, network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the tensors that take part, on the CPU."""
    return {
        name: tensor.cpu().clone() for name, tensor in shared_tensors(network, task.shared).items()
    }


def tensor_kinds(network: nn.Module, names: Mapping[str, Tensor]) -> dict[str, Kind]:
    """Say for each tensor how it travels.

    Floating parameters as deltas, everything else as values.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    return {
        name: DELTA if name in parameters and tensor.is_floating_point() else VALUE
        for name, tensor in names.items()
    }


def load_initial(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Replace the initial tensors in place by those of a safetensors file.

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
    for name, tensor in tensors.items():
        there = loaded.get(name)
        if there is None or there.shape != tensor.shape:
            found = "is missing" if there is None else f"has shape {tuple(there.shape)}"
            raise InvalidInputError(
                f"--initial {path}: {name!r} {found}, "
                f"the task's network needs {tuple(tensor.shape)}"
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(loaded[name])
