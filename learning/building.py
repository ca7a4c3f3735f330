"""A task's network, checked and prepared for a federation."""

from torch import nn

from fanfold.learning.errors import TaskError
from fanfold.learning.parameters import shared_tensors
from fanfold.learning.task import Task
from fanfold.learning.walk import give_memory


def build_network(task: Task) -> nn.Module:
    """Return a new network of the task, all tensors of which can be read and replaced.

    Raises:
        TaskError: if the task returns no network.
        TensorsError: if a tensor cannot take part, or the task's `shared` does not fit.
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
