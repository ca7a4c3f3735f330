"""Which accelerator of a machine each of several processes trains on."""

from collections.abc import Sequence

import torch


def accelerators() -> tuple[str, ...]:
    """Return the names of this machine's accelerators, such as ("cuda:0", "cuda:1")."""
    if not torch.accelerator.is_available():
        return ()
    kind = torch.accelerator.current_accelerator()
    if kind is None:
        return ()
    return tuple(f"{kind.type}:{index}" for index in range(torch.accelerator.device_count()))


def place(index: int, devices: Sequence[str]) -> str | None:
    """Return the device of a process, which are dealt out in turn; None where there is no choice.

    Args:
        index: which process it is, from 0.
        devices: names of the machine's accelerators.
    """
    return devices[index % len(devices)] if len(devices) > 1 else None


def sharers(index: int, processes: int, devices: Sequence[str]) -> int:
    """Return how many of the processes are on the device of one of them, itself included."""
    many = max(1, len(devices))
    return len(range(index % many, processes, many))
