"""The device to train on: the local accelerator as torch reports it, or else the CPU."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fanfold.learning.errors import DeviceError

CONTEXT_BYTES = 512 << 20
"""What CUDA takes of a device for a process, besides its tensors: its context and its kernels."""

IMAGES_DIM = 4
"""Dimensions of a batch of images, [N, C, H, W]."""


def local_device(name: str | None = None) -> torch.device:
    """Find the device to train on.

    Args:
        name: such as "cuda", "cuda:1", "mps" or "cpu"; None is the accelerator, or else the CPU.

    Raises:
        DeviceError: if no device is called so, or this machine has no such device.
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
    """Move every tensor in a batch (nested tuples, lists, dicts), without waiting for the copy.

    Args:
        batch: what a dataset yields. Objects with a method `to` (packed sequences, tokenized texts,
            graphs) are moved with it. Other values that are no tensors stay as they are.
        device: the destination; a tensor that is there already is not copied.
        channels_last: also store 4-dim tensors [N, C, H, W] in memory as NHWC.
    """
    if isinstance(batch, Tensor):
        if channels_last and batch.dim() == IMAGES_DIM:
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
    """Limit this process to a fraction of the device's memory, so that several can share it.

    Args:
        device: has an effect for CUDA and MPS only.
        fraction: above 0, at most 1: one over the number of processes on the device. With CUDA it
            covers the process's context, too.

    Raises:
        DeviceError: if the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise DeviceError(f"a fraction of memory is above 0 and at most 1, not {fraction}")
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(fraction_for_tensors(fraction, total), index)
    elif device.type == "mps":
        torch.mps.set_per_process_memory_fraction(fraction)


def fraction_for_tensors(fraction: float, total_bytes: int) -> float:
    """Return what is left for tensors of a process's share of a CUDA device: at least half of it.

    Args:
        fraction: the share.
        total_bytes: memory of the device.
    """
    return max(fraction - CONTEXT_BYTES / total_bytes, fraction / 2)
