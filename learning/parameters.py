"""Parameters and buffers of any network by flat name: read, choose, replace.

A flat name is layer and tensor joined by a dot, as in "conv1.weight" or "encoder.0.bias": the key
of the tensor in `state_dict`, unless a hook renames it. A tensor of the outermost module has the
layer "" and no dot in its name. A tied tensor is listed once, under the first of its names, so that
it is sent once and set once. Buffers are included, unless they are declared non-persistent. A
complex tensor of shape [...] appears as a real one of shape [..., 2] that shares its memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from fanfold.learning.errors import TensorsError
from fanfold.learning.walk import Found, unwrapped, walk

LayerParameters = dict[str, dict[str, Tensor]]
"""Nested form: layer -> tensor name -> tensor, as in {"conv1": {"weight": ..., "bias": ...}}."""

EVERYTHING = ("*",)


def named_tensors(
    network: nn.Module | Sequence[Found], layers: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """Return the network's tensors by flat name.

    Args:
        network: any module, or what `walk` found in it just now.
        layers: only tensors that lie directly in these layers; None is all of them.

    Returns:
        Detached tensors that share their memory with the network: clone what has to keep its value
        when the network is trained further.

    Raises:
        TensorsError: if a lazy layer has no shape yet, or a tensor is divided among processes.
    """
    chosen = None if layers is None else set(layers)
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for found in _found(network):
        if (chosen is None or found.layer in chosen) and id(found.tensor) not in seen:
            seen.add(id(found.tensor))
            tensors[found.name] = _real(found.tensor.detach())
    return tensors


def named_parameters(network: nn.Module | Sequence[Found]) -> dict[str, nn.Parameter]:
    """Return the parameters themselves by flat name, tied ones under each of their names.

    `network` as for `named_tensors`.
    """
    return {
        found.name: found.tensor
        for found in _found(network)
        if isinstance(found.tensor, nn.Parameter)
    }


def frozen_tensors(network: nn.Module, shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the shared tensors that are parameters and require no gradient."""
    parameters = named_parameters(network)
    return {
        name: tensor
        for name, tensor in shared.items()
        if name in parameters and not parameters[name].requires_grad
    }


def tied_names(network: nn.Module) -> dict[str, str]:
    """Return further names of tied tensors, each with the first name, under which it is sent."""
    first: dict[int, str] = {}
    return {
        found.name: first[id(found.tensor)]
        for found in walk(network)
        if first.setdefault(id(found.tensor), found.name) != found.name
    }


def complex_names(network: nn.Module) -> set[str]:
    """Return the names of complex tensors; `named_tensors` has them as real ones, [..., 2]."""
    return {found.name for found in walk(network) if found.tensor.is_complex()}


def find_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of any network that hold tensors of their own, by dotted name."""
    seen: set[int] = set()
    layers: dict[str, nn.Module] = {}
    for found in walk(network):
        if id(found.tensor) not in seen:
            seen.add(id(found.tensor))
            layers[found.layer] = found.module
    return layers


def shared_tensors(network: nn.Module, patterns: Sequence[str] = EVERYTHING) -> dict[str, Tensor]:
    """Return the tensors that take part in federation; the others stay private.

    Personalised federated learning is a choice of patterns, for example FedPer and FedBN.

    Args:
        network: any module; where it has a method `get_track_layers`, only those layers count.
        patterns: `fnmatch` patterns over flat names. A tensor is shared if a pattern matches it and
            no pattern that begins with "!" does. Where all patterns begin with "!", as in
            `("!*bn*",)`, every tensor that none of them matches is shared.

    Returns:
        Detached tensors that share their memory with the network, as from `named_tensors`.

    Raises:
        TensorsError: if a pattern matches no tensor, or nothing is left to share.
    """
    if isinstance(patterns, str):
        raise TensorsError(
            f"the task's `shared` is the text {patterns!r}, and must be a tuple of patterns: "
            f"({patterns!r},)"
        )
    own_table = getattr(unwrapped(network), "get_track_layers", None)
    tensors = named_tensors(network, own_table() if own_table else None)
    if not tensors:
        raise TensorsError("the network has no parameters and no buffers that could be shared")
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or EVERYTHING
    unwanted = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    for pattern in (*wanted, *unwanted):
        if not any(fnmatchcase(name, pattern) for name in tensors):
            raise TensorsError(
                f"the pattern {pattern!r} matches no tensor; there are: {', '.join(tensors)}"
            )
    shared = {
        name: tensor
        for name, tensor in tensors.items()
        if any(fnmatchcase(name, pattern) for pattern in wanted)
        and not any(fnmatchcase(name, pattern) for pattern in unwanted)
    }
    if not shared:
        raise TensorsError(f"the patterns {', '.join(patterns)} leave no tensor to share")
    return shared


def replace_tensors(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy values into the targets of the same name, in place: all of them, or none.

    Args:
        targets: from `named_tensors` or `shared_tensors`.
        values: all of the targets or some of them (a partial update). Device and dtype are
            converted.

    Raises:
        TensorsError: if a name is unknown or a shape differs; nothing has changed.
    """
    problems = []
    for name, value in values.items():
        if name not in targets:
            problems.append(f"{name} is not among the network's tensors")
        elif not isinstance(value, Tensor):
            problems.append(f"{name} is no tensor but a {type(value).__name__}")
        elif value.shape != targets[name].shape:
            ours, theirs = tuple(targets[name].shape), tuple(value.shape)
            problems.append(f"{name} has the shape {ours}, not {theirs}")
    if problems:
        raise TensorsError("; ".join(problems))
    for name, value in values.items():
        targets[name].copy_(value.detach())


def without_caches(
    tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors whose shape is still that of the target with the same name.

    A buffer whose shape follows the data, such as a mask that is recomputed for a longer sentence,
    is a cache. Its value in a network that was never used is not worth copying.

    Args:
        tensors: those of a network just built.
        targets: those of the same network after it was used.
    """
    return {name: tensor for name, tensor in tensors.items() if targets[name].shape == tensor.shape}


def nest(tensors: Mapping[str, Tensor]) -> LayerParameters:
    """Turn flat names into layers: {"conv1.weight": w} into {"conv1": {"weight": w}}."""
    nested: LayerParameters = {}
    for name, tensor in tensors.items():
        layer, _, tensor_name = name.rpartition(".")
        nested.setdefault(layer, {})[tensor_name] = tensor
    return nested


def flatten(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Turn layers into flat names: {"conv1": {"weight": w}} into {"conv1.weight": w}."""
    return {
        f"{layer}.{tensor_name}" if layer else tensor_name: tensor
        for layer, tensors in parameters.items()
        for tensor_name, tensor in tensors.items()
    }


def _found(network: nn.Module | Sequence[Found]) -> Iterable[Found]:
    return walk(network) if isinstance(network, nn.Module) else network


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
