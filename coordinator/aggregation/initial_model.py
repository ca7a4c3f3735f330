"""The global tensors of a task, and what each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fanfold.coordinator.aggregation.running_sum import DELTA, VALUE
from fanfold.learning import (
    Task,
    build_network,
    complex_names,
    named_parameters,
    reading,
    seeded,
    shared_tensors,
    tied_names,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_table import Kind


def initial_network(task: Task, seed: int) -> nn.Module:
    """Return the network of version 0: the same for the same seed.

    Raises:
        TaskError: if it begins with a file that cannot be read.
    """
    with seeded(seed), reading(task.data_dir):
        return build_network(task)


def global_tensors(task: Task, network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the tensors that take part, on the CPU."""
    return {
        name: tensor.cpu().clone() for name, tensor in shared_tensors(network, task.shared).items()
    }


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
class ModelForm:
    """What makes the tensors of a run the state of a network again."""

    tied: Mapping[str, str]
    """Further names of tensors that travel once, each with the name under which they do."""
    complex_names: frozenset[str]
    """Those that travel as real ones of shape [..., 2]."""

    @classmethod
    def of(cls, network: nn.Module) -> Self:
        """Look at a network of the task."""
        return cls(tied_names(network), frozenset(complex_names(network)))

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors as `load_state_dict` takes them; nothing is copied."""
        state = {
            name: torch.view_as_complex(tensor)
            if name in self.complex_names and tensor.dtype == torch.float32
            else tensor
            for name, tensor in tensors.items()
        }
        return state | {name: state[first] for name, first in self.tied.items() if first in state}


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
    loaded = {
        name: torch.view_as_real(tensor) if tensor.is_complex() else tensor
        for name, tensor in loaded.items()
    }
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
