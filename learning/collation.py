"""Making a batch of a list of examples, and counting the examples in a batch."""

from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import BatchSampler, Sampler, default_collate

from fanfold.learning.errors import TaskError

Collate = Callable[[list[Any]], Any]
"""Turns a list of examples into a batch."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A task's own sampler and collate function; None is torch's default."""

    collate: Collate | None = None
    sampler: Sampler[Any] | BatchSampler | None = None
    """Chooses the examples of a pass and their order; a `BatchSampler` also forms the batches."""


class Collated:
    """Torch's `default_collate`, with a clear error where the examples do not fit together."""

    def __call__(self, examples: list[Any]) -> Any:
        """Make a batch of a list of examples.

        Raises:
            TaskError: if the examples do not fit together.
        """
        try:
            return default_collate(examples)
        except (RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TaskError(
                f"the examples do not make a batch ({reason}); write the task's `collate`, which "
                "makes a batch of a list of examples, or let the dataset give tensors of one shape"
            ) from error


def batch_length(batch: Any) -> int:
    """Return the number of examples in a batch.

    That is the first dimension of the first tensor that has one; without such a tensor the length
    of the first list, for example of texts; otherwise 1.
    """
    if isinstance(batch, PackedSequence):
        return int(batch.batch_sizes[0])
    tensors = (part for part in _leaves(batch) if isinstance(part, Tensor) and part.dim())
    if (first := next(tensors, None)) is not None:
        return len(first)
    return _length_of_a_list(batch) or 1


def _leaves(batch: Any) -> Iterator[Any]:
    parts = _parts(batch)
    if parts is None:
        yield batch
        return
    for part in parts:
        yield from _leaves(part)


def _parts(batch: Any) -> list[Any] | None:
    """Return the parts of a batch that is a collection; None for a single value."""
    if isinstance(batch, Mapping):
        return list(batch.values())
    if isinstance(batch, list | tuple):
        return list(batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in fields(batch)]
    return None


def _length_of_a_list(batch: Any) -> int:
    parts = _parts(batch)
    if parts is None:
        is_list = isinstance(batch, Sized) and not isinstance(batch, str | bytes | Tensor)
        return len(batch) if is_list else 0
    if isinstance(batch, list | tuple) and not any(_parts(part) for part in parts):
        return len(parts)
    return next((length for part in parts if (length := _length_of_a_list(part))), 0)
