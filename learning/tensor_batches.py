"""Batches gathered from whole tensors, on the device that holds them."""

from collections.abc import Iterator
from math import ceil
from typing import Any, Protocol

import torch
from torch import Tensor

from fanfold.learning.device import to_device


class Batches(Protocol):
    """Batches that can be iterated again and again: each iteration is one pass over the dataset.

    If the batches are shuffled, they are shuffled anew for every pass.
    """

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class TensorBatches:
    """Batches gathered from whole tensors; see `make_batches`.

    Args:
        tensors: on the device that gathers.
        order: the examples of each batch of a pass; None takes them as they come.
        batch_size: examples in a batch where there is no order.
        device: where the batches shall be.
        channels_last: how 4-dim tensors are stored there.
        reuses_memory: each batch overwrites the one before it, where it has the same length.
    """

    def __init__(
        self,
        tensors: tuple[Tensor, ...],
        order: Batches | None,
        *,
        batch_size: int,
        device: torch.device,
        channels_last: bool,
        reuses_memory: bool = False,
    ) -> None:
        self.tensors = tensors
        self.order = order
        self.batch_size = batch_size
        self.device = device
        self.channels_last = channels_last
        self.reuses_memory = reuses_memory
        self._memory: dict[int, tuple[Tensor, ...]] = {}

    def __len__(self) -> int:
        length = len(self.tensors[0])
        return ceil(length / self.batch_size) if self.order is None else len(self.order)

    def __iter__(self) -> Iterator[Any]:
        if self.order is None:
            for parts in zip(*(each.split(self.batch_size) for each in self.tensors), strict=True):
                yield self._on_device(parts)
            return
        for chosen in self.order:
            here = torch.as_tensor(chosen, device=self.tensors[0].device)
            yield self._on_device(self._gathered(here))

    def _gathered(self, chosen: Tensor) -> tuple[Tensor, ...]:
        held = self._memory.get(len(chosen))
        if held is None:
            held = tuple(tensor.index_select(0, chosen) for tensor in self.tensors)
            if self.reuses_memory:
                self._memory[len(chosen)] = held
            return held
        for tensor, mine in zip(self.tensors, held, strict=True):
            torch.index_select(tensor, 0, chosen, out=mine)
        return held

    def _on_device(self, batch: tuple[Tensor, ...]) -> Any:
        return to_device(batch, self.device, channels_last=self.channels_last)


class Shuffled:
    """The examples of each batch, in an order that is drawn anew for every pass.

    Drawn on the CPU whatever the device: the same seed gives the same batches everywhere.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        generator: torch.Generator,
        *,
        drop_last: bool,
        device: torch.device,
    ) -> None:
        self.length = length
        self.used = length - length % batch_size if drop_last else length
        self.batch_size = batch_size
        self.generator = generator
        self.device = device

    def __len__(self) -> int:
        return ceil(self.used / self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self.length, generator=self.generator)[: self.used]
        yield from torch.split(order.to(self.device), self.batch_size)
