"""A task's network, made fit to take part."""

from torch import nn

from fanfold.learning.errors import TaskError
from fanfold.learning.parameters import shared_tensors
from fanfold.learning.task import Task
from fanfold.learning.walk import give_memory


def build_network(task: Task) -> nn.Module:
    """A new network of the task, every tensor of which can be read and replaced.

    Raises:
        TaskError: The task gives no network.
        TensorsError: A tensor cannot take part, or the task's `shared` does not fit.
    """
    network = task.network()
    if not isinstance(network, nn.Module):
        raise TaskError(
            f"`network` of {type(task).__name__} gives no torch.nn.Module but a "
            f"{type(network).__name__}"
        )
    give_memory(network)
    shared_tensors(network, task.shared)
    return network
