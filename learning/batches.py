"""Batches of a dataset: gathered from tensors, or read example by example through a `DataLoader`.

A `TensorDataset` (or a `Subset` of one) needs no loader: a batch is one `index_select` per tensor,
on the device itself when the data fits there. Any other map-style dataset may return something new
at every access, for example through augmentation, so it is loaded example by example. `in_memory`
turns a dataset that always returns the same examples into tensors, once.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    default_collate,
)

from fanfold.learning.collation import Collate, Collated, Loading
from fanfold.learning.device import to_device
from fanfold.learning.errors import TaskError
from fanfold.learning.execution import Execution
from fanfold.learning.tensor_batches import Batches, Shuffled, TensorBatches


def dataset_length(dataset: Dataset[Any]) -> int:
    """Return the number of examples.

    Raises:
        TaskError: if there are none, or the dataset has no length.
    """
    try:
        length = len(cast("Any", dataset))
    except TypeError:
        length = 0
    if not length:
        raise TaskError(f"the dataset ({type(dataset).__name__}) has no examples or no length")
    return length


def dataset_tensors(dataset: Dataset[Any]) -> tuple[Tensor, ...] | None:
    """Return the tensors behind a `TensorDataset` or a `Subset` of one; None for other datasets."""
    if type(dataset) is TensorDataset:  # a derived class may do more in __getitem__
        return dataset.tensors
    if type(dataset) is Subset and (tensors := dataset_tensors(dataset.dataset)) is not None:
        indices = torch.as_tensor(dataset.indices)
        return tuple(tensor[indices.to(tensor.device)] for tensor in tensors)
    return None


def num_bytes(tensors: tuple[Tensor, ...]) -> int:
    """Return the memory of the tensors' elements in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def resident(dataset: Dataset[Any], device: torch.device, limit_bytes: int) -> Dataset[Any]:
    """Return the dataset with its tensors on the device, if it is made of tensors and they fit.

    Any other dataset is returned unchanged. Training calls this itself; who trains on the same
    data many times calls it once before, so that the data is not copied every time.

    Args:
        dataset: map-style, with a length.
        device: where the tensors shall be.
        limit_bytes: larger data stays where it is, unless the device is the CPU; so does data for
            which the device, or this process's fraction of it, has no memory left.
    """
    tensors = dataset_tensors(dataset)
    if tensors is None or (device.type != "cpu" and num_bytes(tensors) > limit_bytes):
        return dataset
    try:
        return TensorDataset(*(tensor.to(device) for tensor in tensors))
    except torch.OutOfMemoryError:  # its batches go there one by one
        return dataset


def in_memory(dataset: Dataset[Any], limit_bytes: int = 2 * 2**30) -> Dataset[Any]:
    """Read every example once and keep them all as tensors.

    A random transform is therefore applied once, and every pass sees its result.

    Args:
        dataset: map-style, yielding tuples of tensors and numbers, each of one shape throughout.
        limit_bytes: a dataset that would take more is returned as it is.
    """
    length = dataset_length(dataset)
    source = cast("Any", dataset)
    if num_bytes(tuple(default_collate([source[0]]))) * length > limit_bytes:
        return dataset
    return TensorDataset(*default_collate([source[index] for index in range(length)]))


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
    loading: Loading = Loading(),
) -> Batches:
    """Return the batches of a dataset, from its tensors or through a `DataLoader`.

    Args:
        dataset: with a length. An iterable one keeps its own order.
        batch_size: examples in a batch; the last one of a pass may be smaller.
        device: every batch is moved there.
        execution: memory layout, memory limit and loader processes.
        generator: shuffles every pass; None keeps the order.
        drop_last: leave out a last batch that is smaller than the others.
        loading: the task's own ways of choosing examples and of making a batch of them.

    Raises:
        TaskError: if the dataset is empty or has no length, or the sampler has none.
    """
    dataset_length(dataset)
    tensors = dataset_tensors(dataset)
    if tensors is not None and loading.collate is None:
        held = dataset_tensors(resident(dataset, device, execution.resident_bytes)) or tensors
        order = _chosen(held, batch_size, generator, drop_last=drop_last, sampler=loading.sampler)
        return _with_length(
            TensorBatches(
                held,
                order,
                batch_size=batch_size,
                device=device,
                channels_last=execution.channels_last,
                reuses_memory=execution.cuda_graphs and held[0].device.type == "cuda",
            )
        )
    is_iterable = isinstance(dataset, IterableDataset)
    # Every worker would yield all of an iterable dataset.
    workers = min(1, execution.loader_workers) if is_iterable else execution.loader_workers
    if is_there := tensors is not None and tensors[0].device.type != "cpu":
        workers = 0  # another process cannot read what is on the device
    loader: DataLoader[Any] = DataLoader(
        dataset,
        generator=generator,
        collate_fn=_collated(loading.collate),
        pin_memory=device.type == "cuda" and not is_there,
        num_workers=workers,
        persistent_workers=workers > 0,
        **_order(dataset, batch_size, generator=generator, drop_last=drop_last, loading=loading),
    )
    return _with_length(LoadedBatches(loader, device, channels_last=execution.channels_last))


def _chosen(
    tensors: tuple[Tensor, ...],
    batch_size: int,
    generator: torch.Generator | None,
    *,
    drop_last: bool,
    sampler: Sampler[Any] | None,
) -> Batches | None:
    """Return the examples of each batch; None where they keep their order."""
    if isinstance(sampler, BatchSampler):
        return sampler
    if sampler is not None:
        return BatchSampler(sampler, batch_size, drop_last)
    if generator is None:
        return None
    length, device = len(tensors[0]), tensors[0].device
    return Shuffled(length, batch_size, generator, drop_last=drop_last, device=device)


def _with_length(batches: Batches) -> Batches:
    try:
        len(batches)
    except TypeError as error:
        raise TaskError(f"the task's sampler has no length: {error}") from error
    return batches


def _order(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    generator: torch.Generator | None,
    drop_last: bool,
    loading: Loading,
) -> dict[str, Any]:
    """Return the loader's arguments that say which examples are in which batch."""
    if isinstance(loading.sampler, BatchSampler):
        return {"batch_sampler": loading.sampler}
    sampler = loading.sampler
    if sampler is None and generator is not None and not isinstance(dataset, IterableDataset):
        sampler = RandomSampler(cast("Any", dataset), generator=generator)
    return {"batch_size": batch_size, "sampler": sampler, "drop_last": drop_last}


def _collated(collate: Collate | None) -> Collate:
    return Collated() if collate is None else collate
