"""Where a run keeps whole sets of tensors that its memory should not hold, by key.

The coordinator keeps them in files, beside its checkpoint; the simulator and the replay in memory.
A key holds letters, digits, `.`, `_` and `-`.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor


class StoredTensors(Protocol):
    """A set of tensors, wherever it is kept."""

    def __contains__(self, name: object, /) -> bool:
        """Whether there is such a tensor."""
        ...

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """Return some of a tensor's values [end - begin], in C order and in its own dtype."""
        ...

    def load(self, name: str) -> Tensor:
        """Return a whole tensor; it must not be changed."""
        ...

    @property
    def names(self) -> Iterable[str]:
        """The tensors' names."""
        ...


class TensorStore(Protocol):
    """What `put` takes is durable with the commit of whatever names its key."""

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors, in the place of what may be there.

        Raises:
            OSError: if the disk refuses; the same can be tried again.
        """

    def get(self, key: str) -> StoredTensors:
        """Return what is kept.

        Raises:
            DamagedFileError: if it is lost, or not what was put.
        """
        ...

    def drop(self, key: str, *, rounds: int = 1) -> None:
        """Let go of a key that the next commit does not name, so many rounds after it.

        Args:
            key: that of `put`.
            rounds: 1 for what is dropped when a round closes; 2 for what is dropped while one is
                open: the checkpoint before the newest one names it longer.
        """

    def keep_only(self, keys: Iterable[str]) -> None:
        """Let go of all others: nothing that was committed names them."""

    def damage(self, key: str) -> str | None:
        """Read all of it and say in words what is wrong, if anything is."""
        ...


class InMemory(dict[str, Tensor]):
    """Tensors by name."""

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """Return some values."""
        return self[name].reshape(-1)[begin:end]

    def load(self, name: str) -> Tensor:
        """Return a tensor."""
        return self[name]

    @property
    def names(self) -> Iterable[str]:
        """The tensors' names."""
        return self.keys()


class MemoryStore:
    """Keeps tensors for as long as the process lives."""

    def __init__(self) -> None:
        """Begin empty."""
        self._kept: dict[str, InMemory] = {}

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep copies."""
        self._kept[key] = InMemory({name: tensor.clone() for name, tensor in tensors.items()})

    def get(self, key: str) -> InMemory:
        """Return what is kept."""
        return self._kept[key]

    def drop(self, key: str, *, rounds: int = 1) -> None:
        """Let go of a key at once."""
        del rounds
        del self._kept[key]

    def keep_only(self, keys: Iterable[str]) -> None:
        """Let go of all others."""
        wanted = set(keys)
        self._kept = {key: kept for key, kept in self._kept.items() if key in wanted}

    def damage(self, key: str) -> str | None:
        """Return None: memory is whole, or gone."""
        return None if key in self._kept else f"{key} is not kept"
