"""What a model must be like where updates carry the deltas of its parameters and nothing else."""

from collections.abc import Mapping

from torch import Tensor

from fanfold.coordinator.aggregation.running_sum import DELTA, holes_of
from fanfold.schemas.errors import InvalidInputError


def check_deltas_alone(
    option: str, tensors: Mapping[str, Tensor], kinds: Mapping[str, str]
) -> None:
    """Refuse a model that has more to tell than finite deltas.

    Args:
        option: what takes deltas alone.
        tensors: the model's, by name.
        kinds: how each travels.

    Raises:
        InvalidInputError: if it has floating buffers, or parameters that are not finite: their
            deltas have no length.
    """
    buffers = [
        name
        for name, tensor in tensors.items()
        if kinds[name] != DELTA and tensor.is_floating_point()
    ]
    if buffers:
        raise InvalidInputError(
            f"{option} does not go with floating buffers, and the network shares "
            f"{', '.join(buffers[:3])}; keep them private with the task's `shared`, or use a "
            "normalisation without running statistics"
        )
    for name in holes_of(tensors):
        raise InvalidInputError(
            f"{option} does not go with parameters that are not finite, and {name!r} is one; "
            "make it a private buffer with the task's `shared`"
        )
