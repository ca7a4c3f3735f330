"""Whole sets of tensors on the disk, by key: safetensors files in one folder.

A file is synced when `put` returns, and its name when `sync` does. A dropped file stays for some
rounds: the checkpoint on the disk still names it, and so may the one before, which is used if the
newest is damaged.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fanfold.storage import safetensors_file
from fanfold.storage.disk import may_pass, sync_folder
from fanfold.storage.safetensors_file import DamagedFileError

SUFFIX = ".safetensors"


class KeptTensors:
    """The store of a coordinator: `TensorStore` in files."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when something is put."""
        self.folder = folder
        self._dropped: dict[str, int] = {}
        """For how many more rounds a file stays."""
        self._version = -1
        """Of the last commit."""
        self._is_dirty = False

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a file."""
        self.folder.mkdir(exist_ok=True)
        self._dropped.pop(key, None)
        self._is_dirty = True
        safetensors_file.write(self._path(key), tensors, {})

    def get(self, key: str) -> "TensorFile":
        """Open a file."""
        return TensorFile(self._path(key))

    def drop(self, key: str, *, rounds: int = 1) -> None:
        """Delete a file once so many further rounds are committed."""
        self._dropped[key] = rounds

    def keep_only(self, keys: Iterable[str]) -> None:
        """Delete all other files."""
        wanted = {self._path(key) for key in keys}
        self._dropped.clear()
        for path in self.folder.glob(f"*{SUFFIX}"):
            if path not in wanted:
                path.unlink()

    def damage(self, key: str) -> str | None:
        """Hold a file against its checksum, block by block."""
        try:
            safetensors_file.check(self._path(key))
        except (DamagedFileError, OSError) as error:
            return str(error)
        return None

    def sync(self) -> None:
        """Make the names of new files durable.

        Raises:
            OSError: if the disk refuses.
        """
        if self._is_dirty:
            sync_folder(self.folder)
            self._is_dirty = False

    def committed(self, version: int) -> None:
        """Delete what was dropped long enough ago; what the disk keeps goes with a later commit.

        Args:
            version: that the commit holds.
        """
        if version == self._version:
            return
        self._version = version
        for key, rounds in list(self._dropped.items()):
            if rounds:
                self._dropped[key] = rounds - 1
                continue
            try:
                self._path(key).unlink(missing_ok=True)
            except OSError as error:
                if not may_pass(error):
                    raise
                continue
            del self._dropped[key]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"


class TensorFile:
    """Reads parts of a safetensors file, without mapping it: what was read leaves no trace."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            DamagedFileError: if the file is lost, or no safetensors file.
        """
        self._path = path
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > path.stat().st_size:
                    raise DamagedFileError(f"{path} is not a whole safetensors file")
                self._entries: dict[str, Any] = json.loads(file.read(length))
        except (OSError, ValueError) as error:
            raise DamagedFileError(f"{path} cannot be read: {error}") from None
        self._entries.pop("__metadata__", None)
        self._begin = 8 + length

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor."""
        return name in self._entries

    @property
    def names(self) -> Iterable[str]:
        """The tensors' names."""
        return self._entries.keys()

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """Return some of a tensor's values.

        Raises:
            DamagedFileError: if the file ends before them.
        """
        entry = self._entries[name]
        dtype = safetensors_file.dtype_of(entry["dtype"])
        values = torch.empty(end - begin, dtype=dtype)
        if begin == end:
            return values
        room = memoryview(values.view(torch.uint8).numpy().data)
        at = self._begin + entry["data_offsets"][0] + begin * dtype.itemsize
        with self._path.open("rb", buffering=0) as file:
            file.seek(at)
            while room:
                number = file.readinto(room)
                if not number:
                    raise DamagedFileError(f"{self._path} ends before {name!r}")
                room = room[number:]
        return values

    def load(self, name: str) -> Tensor:
        """Return a whole tensor.

        Raises:
            DamagedFileError: if the file ends before it does.
        """
        shape = torch.Size(self._entries[name]["shape"])
        return self.read(name, 0, shape.numel()).view(shape)
