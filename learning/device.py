"""The local accelerator, through torch's own API, and the CPU where there is none."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fanfold.learning.errors import DeviceError


def local_device(name: str | None = None) -> torch.device:
    """Finds the device to train on.

    Args:
        name: Such as "cuda", "cuda:1", "mps" or "cpu"; None is the accelerator, or else the CPU.

    Raises:
        DeviceError: The name is no device's, or the device is not on this machine.
    """
    accelerator = None
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
    if name is None:
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"{name!r} is no name of a device; use cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cpu":
        return device
    if accelerator is None or device.type != accelerator.type:
        found = accelerator.type if accelerator else "no accelerator"
        raise DeviceError(f"the device {name!r} is not on this machine: torch finds {found}")
    count = torch.accelerator.device_count()
    if device.index is not None and device.index >= count:
        raise DeviceError(
            f"the device {name!r} is not on this machine: the last one is {device.type}:{count - 1}"
        )
    return device


def to_device(batch: Any, device: torch.device, *, channels_last: bool = False) -> Any:
    """Moves every tensor in a batch (nested tuples, lists, dicts) without waiting for it.

    Args:
        batch: What a dataset yields. What can move itself with `to` does so: packed sequences,
            tokenized texts, graphs. Anything else in it that is no tensor is left as it is.
        device: The destination; a tensor that is there already is not copied.
        channels_last: Also lay 4-dim tensors [N, C, H, W] out as NHWC.
    """
    if isinstance(batch, Tensor):
        if channels_last and batch.dim() == 4:  # noqa: PLR2004 - images in a batch
            return batch.to(device, non_blocking=True, memory_format=torch.channels_last)
        return batch.to(device, non_blocking=True)
    if callable(move := getattr(batch, "to", None)):
        return move(device)

    def moved(part: Any) -> Any:
        return to_device(part, device, channels_last=channels_last)

    if is_dataclass(batch) and not isinstance(batch, type):
        parts = {each.name: moved(getattr(batch, each.name)) for each in fields(batch) if each.init}
        batch = replace(batch, **parts)
    elif isinstance(batch, Mapping):
        batch = {key: moved(value) for key, value in batch.items()}
    elif isinstance(batch, list | tuple):
        values = [moved(part) for part in batch]
        batch = type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    return batch


def limit_device_memory(device: torch.device, fraction: float) -> None:
    """Keeps this process within a fraction of the device's memory, so that several can share it.

    Args:
        device: CUDA and MPS can be limited; others are left alone.
        fraction: Above 0, at most 1: one over the number of participants on the device.

    Raises:
        DeviceError: The fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise DeviceError(f"a fraction of memory is above 0 and at most 1, not {fraction}")
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(fraction, device)
    elif device.type == "mps":
        torch.mps.set_per_process_memory_fraction(fraction)
