"""Parameters and buffers of any network by flat name: read, choose, replace.

A flat name is what `state_dict` calls the tensor: layer and tensor joined by a dot, as in
"conv1.weight" or "encoder.0.bias". A tensor right on the root has the layer "" and no dot in its
name. A tied tensor is listed once, under the first of its names, so that it travels once and is set
once. Buffers are included, unless they are declared non-persistent.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fanfold.learning.errors import TensorsError

LayerParameters = dict[str, dict[str, Tensor]]
"""Nested form: layer -> tensor name -> tensor, as in {"conv1": {"weight": ..., "bias": ...}}."""

EVERYTHING = ("*",)


def layer_of(name: str) -> str:
    """The layer in a flat name: "conv1" of "conv1.weight", "" of a tensor right on the root."""
    return name.rpartition(".")[0]


def named_tensors(network: nn.Module, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Lists the network's tensors by flat name.

    Args:
        network: Any module.
        layers: Only tensors that lie directly in these layers; None is all of them.

    Returns:
        Detached tensors that share their memory with the network: clone what must outlive the next
        step.

    Raises:
        TensorsError: A lazy layer has no shape yet.
    """
    chosen = None if layers is None else set(layers)
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if chosen is not None and layer_of(name) not in chosen:
            continue
        if is_lazy(tensor):
            raise TensorsError(f"{name} has no shape yet; run one batch through the network first")
        if (
            isinstance(tensor, Tensor) and id(tensor) not in seen
        ):  # extra state need not be a tensor
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def find_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers of any network that hold tensors of their own, by dotted name."""
    return {layer: network.get_submodule(layer) for layer in map(layer_of, named_tensors(network))}


def shared_tensors(network: nn.Module, patterns: Sequence[str] = EVERYTHING) -> dict[str, Tensor]:
    """The tensors that take part in federation; the rest stays private, as in FedPer and FedBN.

    Args:
        network: Any module; where it has a `get_track_layers`, only those layers are looked at.
        patterns: `fnmatch` patterns over flat names. A tensor is shared when one of them matches
            and none that begins with "!" does; with only such ones, all others are shared:
            `("!*bn*",)`.

    Returns:
        Like `named_tensors`: live, detached.

    Raises:
        TensorsError: A pattern matches no tensor, or nothing is left to share.
    """
    own_table = getattr(network, "get_track_layers", None)
    tensors = named_tensors(network, own_table() if own_table else None)
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
    """Copies values into the targets of the same name, in place: all of them, or none.

    Args:
        targets: From `named_tensors` or `shared_tensors`.
        values: All of the targets or some of them (a partial update). Device and dtype are
            converted.

    Raises:
        TensorsError: A name is unknown or a shape differs; nothing has changed.
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


def nest(tensors: Mapping[str, Tensor]) -> LayerParameters:
    """Flat names to layers: {"conv1.weight": w} to {"conv1": {"weight": w}}."""
    nested: LayerParameters = {}
    for name, tensor in tensors.items():
        layer, _, tensor_name = name.rpartition(".")
        nested.setdefault(layer, {})[tensor_name] = tensor
    return nested


def flatten(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Layers to flat names: {"conv1": {"weight": w}} to {"conv1.weight": w}."""
    return {
        f"{layer}.{tensor_name}" if layer else tensor_name: tensor
        for layer, tensors in parameters.items()
        for tensor_name, tensor in tensors.items()
    }
