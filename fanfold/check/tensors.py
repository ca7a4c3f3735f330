"""Which of a network's tensors travel, and which do not."""

from collections.abc import Mapping

from torch import Tensor, nn

from fanfold.check.group import Group
from fanfold.coordinator.aggregation.initial_model import InitialModel
from fanfold.coordinator.aggregation.running_sum import DELTA
from fanfold.learning import named_tensors, walk
from fanfold.schemas.tensor_codec import dtype_name, num_bytes

NAMES_SHOWN = 3

TREATMENTS = {
    "trained": "go down as values and up as changes",
    "buffers": "go both ways as values",
    "frozen": "do not travel: everybody has them from the task",
    "private": "stay with each participant",
    "not persistent": "are made anew by each network, and never leave it",
}


def groups_of(model: InitialModel, network: nn.Module) -> tuple[Group, ...]:
    """Return a network's tensors by what becomes of them; groups without any are left out."""
    everything = named_tensors(network)
    known = {*model.tensors, *model.form.frozen}
    members: dict[str, Mapping[str, Tensor]] = {
        "trained": {n: each for n, each in model.tensors.items() if model.kinds[n] == DELTA},
        "buffers": {n: each for n, each in model.tensors.items() if model.kinds[n] != DELTA},
        "frozen": model.form.frozen,
        "private": {name: each for name, each in everything.items() if name not in known},
        "not persistent": _not_persistent(network),
    }
    return tuple(_group(name, tensors) for name, tensors in members.items() if tensors)


def _not_persistent(network: nn.Module) -> dict[str, Tensor]:
    kept = {id(found.tensor) for found in walk(network)}
    return {name: buffer for name, buffer in network.named_buffers() if id(buffer) not in kept}


def _group(name: str, tensors: Mapping[str, Tensor]) -> Group:
    return Group(
        name=name,
        treatment=TREATMENTS[name],
        tensors=len(tensors),
        values=sum(tensor.numel() for tensor in tensors.values()),
        bytes=num_bytes(tensors),
        dtypes=tuple(sorted({str(each.dtype).removeprefix("torch.") for each in tensors.values()})),
        examples=tuple(tensors)[:NAMES_SHOWN],
    )


def check_dtypes(model: InitialModel) -> None:
    """Refuse tensors that cannot travel.

    Raises:
        UnsupportedDtypeError: if there is one.
    """
    for name, tensor in model.tensors.items():
        dtype_name(name, tensor)
