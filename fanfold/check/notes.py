"""What will not work as one might expect of a task, and why, in sentences."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from fanfold.coordinator.aggregation.initial_model import InitialModel
from fanfold.coordinator.aggregation.running_sum import DELTA
from fanfold.learning import Task, frozen_tensors, named_tensors

SHOWN = 3


def of_the_network(model: InitialModel) -> Iterator[str]:
    """Yield what the network alone tells."""
    if travelling := frozen_tensors(model.network, model.tensors):
        yield (
            f"{_some(travelling)} frozen, and travels with every version all the same: each "
            "network that the task builds has another value there, whatever the seed"
        )
    floating = [
        name
        for name, tensor in model.tensors.items()
        if model.kinds[name] != DELTA and tensor.is_floating_point()
    ]
    if floating:
        yield (
            f"{_some(floating)} a floating buffer: --dp-clip and --dp-sgd-clip will be refused, "
            "for no noise hides what buffers tell"
        )
    states = [
        name or type(module).__name__
        for name, module in model.network.named_modules()
        if type(module).get_extra_state is not nn.Module.get_extra_state
    ]
    if states:
        yield f"{_some(states)} a module with extra state, which stays private and is in no file"


def of_the_task(task: Task, model: InitialModel, *, is_stoppable: bool) -> Iterator[str]:
    """Yield what the task tells besides its network."""
    is_whole = len(named_tensors(model.network)) == len(model.tensors) + len(model.form.frozen)
    if not is_whole:
        yield (
            "some tensors stay private, so the coordinator evaluates nothing: accuracy is the mean "
            "of what participants measure on their `validation_data`"
        )
    if not is_stoppable:
        yield (
            f"`fit` of {type(task).__name__} never asks `execution.should_stop`: a participant "
            "that is told to stop trains on to the end of the version"
        )


def of_the_source(beside: Sequence[str]) -> Iterator[str]:
    """Yield what the hash of the task's source does not cover, of what lies beside it."""
    if beside:
        yield (
            f"the task imports {', '.join(beside[:SHOWN])} too, which the hash of its source does "
            "not cover; put them into one package with it"
        )


def of_the_training(changes: Mapping[str, Tensor], loss: float | None, steps: int) -> Iterator[str]:
    """Yield what a few steps of training tell.

    Args:
        changes: deltas of the parameters.
        loss: the mean over the steps, where it was told.
        steps: how many.
    """
    still = [name for name, delta in changes.items() if not delta.any()]
    if len(still) == len(changes):
        yield (
            f"{steps} steps changed no parameter: is --lr 0, or too small for the dtype? Does "
            "`loss` reach what is trained?"
        )
    elif still:
        yield f"{_some(still)} a parameter that {steps} steps did not move: is it used at all?"
    if loss is not None and not abs(loss) < float("inf"):
        yield f"the loss is {loss}: a lower --lr may help, or other units for what is predicted"


def of_the_measures(held_out: int | None, validation: int | None) -> Iterator[str]:
    """Yield whether anybody measures the model, from the number of examples to do it with."""
    if held_out is None and validation is None:
        yield (
            "nobody measures the model: the task gives neither `test_data`, for the coordinator, "
            "nor `validation_data`, for participants"
        )


def _some(names: Mapping[str, Tensor] | list[str]) -> str:
    """Return the first names and a verb that goes on with "a ..."."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}: each" if len(listed) > 1 else f"{listed[0]} is"
