"""Every parameter and buffer of a network by flat name, as the modules themselves hold them.

Not through `state_dict`: hooks may let it return copies, other names or other values (gathered,
cast, quantised), and what is copied into those changes no network. What wraps a network does not
show in the names (`torch.compile`, `DataParallel`, checkpointed activations), so that one
participant may wrap what another does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fanfold.learning.errors import TensorsError

WRAPPED_AS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""Under these names a wrapper holds the module that it wraps, and nothing else."""


@dataclass(frozen=True, slots=True)
class Found:
    """One tensor, and where it lies."""

    layer: str
    module: nn.Module
    own_name: str
    """Within its module, as in "weight"."""
    tensor: Tensor
    """The parameter or buffer itself."""
    is_parameter: bool

    @property
    def name(self) -> str:
        """The flat name, as in "conv1.weight"."""
        return f"{self.layer}.{self.own_name}" if self.layer else self.own_name


def walk(network: nn.Module) -> Iterator[Found]:
    """Yields parameters and persistent buffers in the order of `state_dict`; tied ones repeatedly.

    Raises:
        TensorsError: A tensor has no shape yet, or this process has only a part of it.
    """
    for layer, module in _modules(network, ""):
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            yield _checked(Found(layer, module, name, parameter, is_parameter=True))
        private: set[str] = getattr(module, "_non_persistent_buffers_set", set())
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            if name not in private:
                yield _checked(Found(layer, module, name, buffer, is_parameter=False))


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, out of what wraps it."""
    while (inside := _wrapped_in(network)) is not None:
        network = inside
    return network


def give_memory(network: nn.Module) -> None:
    """Gives tensors whose values share memory, as `expand` makes them, memory of their own.

    Nothing can be copied into such a tensor.
    """
    for found in walk(network):
        tensor = found.tensor.detach()
        if not any(_repeats(size, step) for size, step in zip(*_layout(tensor), strict=True)):
            continue
        if found.is_parameter:
            found.tensor.data = tensor.clone().contiguous()
        else:
            setattr(found.module, found.own_name, tensor.contiguous())


def _modules(module: nn.Module, layer: str) -> Iterator[tuple[str, nn.Module]]:
    inside = _wrapped_in(module)
    if inside is not None:
        yield from _modules(inside, layer)
        return
    yield layer, module
    for name, child in module._modules.items():  # noqa: SLF001 - named_children hides repeated ones
        if child is not None:
            yield from _modules(child, f"{layer}.{name}" if layer else name)


def _wrapped_in(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
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
    if hasattr(found.tensor, "device_mesh"):  # a DTensor, whose module is slow to load
        raise TensorsError(
            f"{found.name} is divided among processes, and a participant needs all of it; leave "
            "FSDP and tensor parallelism out of the task's `network`"
        )
    return found


def _layout(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (tuple(tensor.shape), tensor.stride()) if tensor.layout == torch.strided else ((), ())


def _repeats(size: int, step: int) -> bool:
    return size > 1 and step == 0
