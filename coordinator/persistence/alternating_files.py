"""Two files written alternately, so that after any crash one of them is complete.

The older one is overwritten in place, synced, and only then gets the name of the newest. That waits
for the disk once and changes nothing in the file system's journal, so it is faster than writing a
new file. A number inside says which is newer: after a power cut the names may be the former ones.

Each is a safetensors file. The tensor `document` (uint8) holds a JSON document, padded with spaces:
it may be of any size, as a header may not.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fanfold.storage import safetensors_file
from fanfold.storage.compact_json import compact_json
from fanfold.storage.disk import sync_folder
from fanfold.storage.safetensors_file import DamagedFileError

DOCUMENT = "document"
DOCUMENT_MULTIPLE, HEADER_MULTIPLE = 64 << 10, 4 << 10
"""Padding, so that document and header can vary without changing the size of the file."""

Metadata = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What was read. `is_previous` if the newest file was damaged, or is gone."""

    path: Path
    document: dict[str, Any]
    tensors: dict[str, Tensor]
    metadata: Metadata
    is_previous: bool = False


class AlternatingFiles:
    """The newest file and the one before it, in one folder."""

    def __init__(self, folder: Path, stem: str) -> None:
        """Use `stem`.safetensors and its neighbours in `folder`, which exists."""
        self.newest = folder / f"{stem}.safetensors"
        self.previous = folder / f"{stem}.previous.safetensors"
        self._incoming = folder / f"{stem}.safetensors.incoming"
        self._number = 0
        self.problems: dict[Path, str] = {}
        """Files that the last `read` found damaged, except one whose write was not finished."""

    @property
    def paths(self) -> list[Path]:
        """The files that are there."""
        every = (self.newest, self.previous, self._incoming)
        return [path for path in every if path.exists()]

    def write(
        self, document: Mapping[str, Any], tensors: Mapping[str, Tensor], metadata: Metadata
    ) -> None:
        """Write and sync; the one that was newest becomes the previous one.

        Raises:
            OSError: if the disk refuses; what was newest before can still be read.
        """
        if self.previous.exists():
            self.previous.replace(self._incoming)
        is_recycled = self._incoming.exists()
        safetensors_file.write(
            self._incoming,
            {DOCUMENT: _text(document), **tensors},
            {**metadata, "number": str(self._number + 1)},
            header_multiple=HEADER_MULTIPLE,
        )
        if self.newest.exists():
            self.newest.replace(self.previous)
        self._incoming.replace(self.newest)
        if not is_recycled:
            sync_folder(self.newest.parent)
        self._number += 1

    def read(self, *, is_wanted: Callable[[Metadata], bool]) -> Found | None:
        """Return the newest complete one of those that are wanted, or None.

        It gets the name of the newest, so that the next write does not overwrite it.

        Args:
            is_wanted: called with the metadata of each, the newest first.

        Raises:
            OSError: if the disk refuses.
        """
        numbers, self.problems = {}, {}
        is_newest_gone = self.paths == [self.previous]
        for path in self.paths:
            try:
                numbers[path] = _number(safetensors_file.read_metadata(path))
            except DamagedFileError as error:
                self.problems[path] = str(error)
        self._number = max(numbers.values(), default=0)
        found = None
        for path in sorted(numbers, key=lambda path: -numbers[path]):
            try:
                if is_wanted(safetensors_file.read_metadata(path)):
                    found = self._found(path)
                    break
            except DamagedFileError as error:
                self.problems[path] = str(error)
        is_previous = is_newest_gone or self.newest in self.problems
        self.problems.pop(self._incoming, None)  # its write was never finished
        if found is None:
            return None
        self._name_newest(found.path)
        return Found(found.path, found.document, found.tensors, found.metadata, is_previous)

    def peek(self) -> Found | None:
        """Return the newest one without touching anything, or None where there is none.

        Raises:
            DamagedFileError: if it is not whole.
        """
        return self._found(self.newest) if self.newest.exists() else None

    @staticmethod
    def _found(path: Path) -> Found:
        tensors, metadata = safetensors_file.read(path)
        text = tensors.pop(DOCUMENT, None)  # other formats keep it elsewhere
        document = {} if text is None else json.loads(text.numpy().tobytes())
        return Found(path, document, tensors, metadata)

    def _name_newest(self, best: Path) -> None:
        if best == self.newest:
            return
        if best == self.previous:
            best = self.previous.replace(self._incoming)
        if self.newest.exists():
            self.newest.replace(self.previous)
        best.replace(self.newest)
        sync_folder(self.newest.parent)


def _text(document: Mapping[str, Any]) -> Tensor:
    """Return a document as bytes in UTF-8."""
    text = bytearray(compact_json(document).encode())
    text += b" " * (-len(text) % DOCUMENT_MULTIPLE)
    return torch.frombuffer(text, dtype=torch.uint8)


def _number(metadata: Metadata) -> int:
    """Return which of them this is, were the file whole."""
    try:
        return int(metadata["number"])
    except (KeyError, ValueError):
        raise DamagedFileError("this is no checkpoint of Fanfold") from None
