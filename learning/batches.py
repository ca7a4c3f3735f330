"""Batches of a dataset: from tensors in one gather, from anything else through a loader.

A `TensorDataset` (or a `Subset` of one) needs no loader: a batch is one `index_select` per tensor,
on the device itself when the data fits there. Any other map-style dataset may do something new at
every access, such as augmentation, so it is loaded example by example; `in_memory` turns one that
does not into tensors, once.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from fanfold.learning.collation import Collate, Collated, Loading
from fanfold.learning.device import to_device
from fanfold.learning.errors import TaskError
from fanfold.learning.execution import Execution


class Batches(Protocol):
    """Passes over a dataset: every iteration is one, shuffled anew if shuffled at all."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


def dataset_length(dataset: Dataset[Any]) -> int:
    """The number of examples; raises `TaskError` where there are none or they cannot be counted."""
    try:
        length = len(cast("Any", dataset))
    except TypeError:
        length = 0
    if not length:
        raise TaskError(f"the dataset ({type(dataset).__name__}) has no examples or no length")
    return length


def dataset_tensors(dataset: Dataset[Any]) -> tuple[Tensor, ...] | None:
    """The tensors behind a `TensorDataset` or a `Subset` of one; None for other datasets."""
    if type(dataset) is TensorDataset:  # a derived class may do more in __getitem__
        return dataset.tensors
    if type(dataset) is Subset and (tensors := dataset_tensors(dataset.dataset)) is not None:
        indices = torch.as_tensor(dataset.indices)
        return tuple(tensor[indices.to(tensor.device)] for tensor in tensors)
    return None


def num_bytes(tensors: tuple[Tensor, ...]) -> int:
    """Memory of the tensors' elements in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def resident(dataset: Dataset[Any], device: torch.device, limit_bytes: int) -> Dataset[Any]:
    """The dataset with its tensors on the device, if it is made of tensors and they fit.

    Any other dataset comes back as it is. Training does this at every call; one who trains on the
    same data again and again does it once before.
    """
    tensors = dataset_tensors(dataset)
    if tensors is None or (device.type != "cpu" and num_bytes(tensors) > limit_bytes):
        return dataset
    return TensorDataset(*(tensor.to(device) for tensor in tensors))


def in_memory(dataset: Dataset[Any], limit_bytes: int = 2 * 2**30) -> Dataset[Any]:
    """Reads every example once and keeps them as tensors; random transforms are frozen by it.

    Args:
        dataset: Map-style, yielding tuples of tensors and numbers, each of one shape throughout.
        limit_bytes: A dataset that would take more is returned as it is.
    """
    length = dataset_length(dataset)
    source = cast("Any", dataset)
    if num_bytes(tuple(default_collate([source[0]]))) * length > limit_bytes:
        return dataset
    return TensorDataset(*default_collate([source[index] for index in range(length)]))


class TensorBatches:
    """Batches gathered from whole tensors; see `make_batches`."""

    def __init__(
        self,
        tensors: tuple[Tensor, ...],
        batch_size: int,
        *,
        generator: torch.Generator | None,
        drop_last: bool,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        self.tensors = tensors
        self.batch_size = batch_size
        self.generator = generator
        self.device = device
        self.channels_last = channels_last
        length = len(tensors[0])
        self.length = length - length % batch_size if drop_last else length

    def __len__(self) -> int:
        return ceil(self.length / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if self.generator is None:
            for begin in range(0, self.length, self.batch_size):
                end = min(begin + self.batch_size, self.length)
                yield self._on_device(tuple(tensor[begin:end] for tensor in self.tensors))
            return
        # Drawn on the CPU whatever the device: the same seed gives the same batches everywhere.
        order = torch.randperm(len(self.tensors[0]), generator=self.generator)[: self.length]
        for chosen in torch.split(order.to(self.tensors[0].device), self.batch_size):
            yield self._on_device(tuple(tensor.index_select(0, chosen) for tensor in self.tensors))

    def _on_device(self, batch: tuple[Tensor, ...]) -> Any:
        return to_device(batch, self.device, channels_last=self.channels_last)


class LoadedBatches:
    """Batches from a `DataLoader`, moved to the device; see `make_batches`."""

    def __init__(
        self, loader: DataLoader[Any], device: torch.device, *, channels_last: bool
    ) -> None:
        self.loader = loader
        self.device = device
        self.channels_last = channels_last

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield to_device(batch, self.device, channels_last=self.channels_last)


def make_batches(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    device: torch.device,
    execution: Execution,
    generator: torch.Generator | None = None,
    drop_last: bool = False,
    loading: Loading = Loading(),  # noqa: B008 - it is frozen
) -> Batches:
    """Prepares passes over a dataset.

    Args:
        dataset: With a length. An iterable one keeps its own order.
        batch_size: Examples in a batch; the last one of a pass may be smaller.
        device: Where the batches are wanted.
        execution: Memory layout, memory limit and loader processes.
        generator: Shuffles every pass; None keeps the order.
        drop_last: Leave a smaller last batch out.
        loading: The task's own ways of choosing examples and of making a batch of them.

    Raises:
        TaskError: The dataset is empty or has no length, or the sampler has none.
    """
    dataset_length(dataset)
    if loading == Loading():
        tensors = dataset_tensors(resident(dataset, device, execution.resident_bytes))
        if tensors is not None:
            return TensorBatches(
                tensors,
                batch_size,
                generator=generator,
                drop_last=drop_last,
                device=device,
                channels_last=execution.channels_last,
            )
    is_iterable = isinstance(dataset, IterableDataset)
    # Every worker would yield all of an iterable dataset.
    workers = min(1, execution.loader_workers) if is_iterable else execution.loader_workers
    loader: DataLoader[Any] = DataLoader(
        dataset,
        generator=generator,
        collate_fn=_collated(loading.collate),
        pin_memory=device.type == "cuda",
        num_workers=workers,
        persistent_workers=workers > 0,
        **_order(dataset, batch_size, generator=generator, drop_last=drop_last, loading=loading),
    )
    try:
        len(loader)
    except TypeError as error:
        raise TaskError(f"the task's sampler has no length: {error}") from error
    return LoadedBatches(loader, device, channels_last=execution.channels_last)


def _order(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    generator: torch.Generator | None,
    drop_last: bool,
    loading: Loading,
) -> dict[str, Any]:
    """The loader's arguments that say which examples come when."""
    if isinstance(loading.sampler, BatchSampler):
        return {"batch_sampler": loading.sampler}
    sampler = loading.sampler
    if sampler is None and generator is not None and not isinstance(dataset, IterableDataset):
        sampler = RandomSampler(cast("Any", dataset), generator=generator)
    return {"batch_size": batch_size, "sampler": sampler, "drop_last": drop_last}


def _collated(collate: Collate | None) -> Collate:
    return Collated() if collate is None else collate
