"""All parameters and buffers of a network by flat name, as the modules themselves hold them.

They are not read through `state_dict`: with hooks it may return copies, other names or other values
(gathered, cast, quantised), and writing into a copy does not change the network. Wrappers
(`torch.compile`, `DataParallel`, checkpointed activations) do not appear in the names, so that
participants may wrap a network differently.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fanfold.learning.errors import TensorsError

WRAPPED_AS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""A wrapper's attributes for the module that it wraps."""


_PARALLEL = nn.DataParallel, nn.parallel.DistributedDataParallel


class Found(NamedTuple):
    """One tensor, and the module that holds it."""

    layer: str
    module: nn.Module
    own_name: str
    """The name within its module, as in "weight"."""
    tensor: Tensor
    """The parameter or buffer itself."""
    is_parameter: bool

    @property
    def name(self) -> str:
        """The flat name, as in "conv1.weight"."""
        return f"{self.layer}.{self.own_name}" if self.layer else self.own_name


def walk(network: nn.Module) -> Iterator[Found]:
    """Yield parameters and persistent buffers in the order of `state_dict`; tied ones repeatedly.

    Raises:
        TensorsError: if a tensor has no shape yet, or this process has only a part of it.
    """
    for layer, module in _modules(network):
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            yield _checked(Found(layer, module, name, parameter, is_parameter=True))
        private: set[str] = getattr(module, "_non_persistent_buffers_set", set())
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            if name not in private:
                yield _checked(Found(layer, module, name, buffer, is_parameter=False))


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside its wrappers."""
    while (inside := _wrapped_in(network)) is not None:
        network = inside
    return network


def give_memory(network: nn.Module) -> None:
    """Copy tensors whose elements share memory, as `expand` makes them, to memory of their own.

    Values cannot be written into a tensor whose elements share memory.
    """
    for found in walk(network):
        tensor = found.tensor.detach()
        if not any(_repeats(size, step) for size, step in zip(*_layout(tensor), strict=True)):
            continue
        if found.is_parameter:
            found.tensor.data = tensor.clone().contiguous()
        else:
            setattr(found.module, found.own_name, tensor.contiguous())


def _modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module that is no wrapper, with its name without those of wrappers."""
    places: dict[str, tuple[str, nn.Module | None]] = {}
    """Of each module by its own name: what it is called here, and what it wraps."""
    for name, module in network.named_modules(remove_duplicate=False):
        layer = ""
        if name:
            above, _, own_name = name.rpartition(".")
            layer, wrapped = places[above]
            if wrapped is not module:
                layer = f"{layer}.{own_name}" if layer else own_name
        inside = _wrapped_in(module)
        places[name] = layer, inside
        if inside is None:
            yield layer, module


def _wrapped_in(module: nn.Module) -> nn.Module | None:
    if isinstance(module, _PARALLEL):
        inside: nn.Module = module.module
        return inside
    children = dict(module.named_children())
    if len(children) == 1 and (name := next(iter(children))) in WRAPPED_AS:
        return children[name]
    return None


def _checked(found: Found) -> Found:
    if is_lazy(found.tensor):
        raise TensorsError(
            f"{found.name} has no shape yet; run one batch through the network first, in the "
            "task's `network`"
        )
    if found.tensor.is_meta:
        raise TensorsError(
            f"{found.name} has no values yet: it is on the meta device; give it values in the "
            "task's `network`, for instance with `to_empty` and an initialisation"
        )
    if found.tensor.layout != torch.strided:
        raise TensorsError(
            f"{found.name} is sparse ({found.tensor.layout}), and only dense tensors travel; if "
            "everybody builds it, as the edges of a graph, register it with persistent=False"
        )
    if hasattr(found.tensor, "device_mesh"):  # a DTensor, whose module is slow to load
        raise TensorsError(
            f"{found.name} is divided among processes, and a participant needs all of it; leave "
            "FSDP and tensor parallelism out of the task's `network`"
        )
    return found


def _layout(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (tuple(tensor.shape), tensor.stride())


def _repeats(size: int, step: int) -> bool:
    return size > 1 and step == 0
