"""What a task brings, checked and prepared for a federation: its network and its data."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from fanfold.learning.errors import TaskError
from fanfold.learning.parameters import shared_tensors
from fanfold.learning.reading import reading
from fanfold.learning.stage import stage
from fanfold.learning.task import Task
from fanfold.learning.walk import give_memory

MOST_COLUMNS = 3
"""Arrays in a tuple that are taken for inputs, targets and weights, and not for examples."""


def build_network(task: Task) -> nn.Module:
    """Return a new network of the task, all tensors of which can be read and replaced.

    Raises:
        TaskError: if the task returns no network, or fails.
        TensorsError: if a tensor cannot take part, or the task's `shared` does not fit.
    """
    with stage("building the network"), reading(task.data_dir):
        network = task.network()
    if not isinstance(network, nn.Module):
        raise TaskError(
            f"`network` of {type(task).__name__} gives no torch.nn.Module but a "
            f"{type(network).__name__}"
        )
    give_memory(network)
    shared_tensors(network, task.shared)
    return network


def read_data(task: Task, read: Callable[[], Any]) -> Any:
    """Return data of a task.

    Args:
        task: whose data.
        read: one of its methods that return a dataset, or None.

    Raises:
        TaskError: if the data cannot be read, or what comes is no dataset.
    """
    with stage("reading the data"), reading(task.data_dir):
        data = read()
    name = f"`{read.__name__}` of {type(task).__name__}"
    if isinstance(data, DataLoader):
        raise TaskError(
            f"{name} gives a DataLoader; let it give the dataset alone: batches are made of it, "
            "with --batch-size and the task's `collate` and `sampler`"
        )
    if isinstance(data, tuple) and len(data) <= MOST_COLUMNS and all(map(_is_column, data)):
        raise TaskError(
            f"{name} gives a tuple of {len(data)} arrays, and not a dataset of examples; for "
            "tensors of one length that is torch.utils.data.TensorDataset(inputs, targets)"
        )
    return data


def _is_column(part: Any) -> bool:
    return bool(getattr(part, "shape", ()))
