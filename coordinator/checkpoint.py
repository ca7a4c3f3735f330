"""The checkpoint is the source of truth.

What it holds is counted, and only that is acknowledged at the broker.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from coordinator import safetensors_file
from schemas.disk import sync_folder
from schemas.errors import InvalidInputError

FORMAT = 2
HEADER_MULTIPLE = 64 << 10
"""Room for the state to vary without changing the size of the file."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read: a JSON document and tensors.

    `is_previous` when the newest file was damaged, or is gone.
    """

    document: dict[str, Any]
    tensors: dict[str, Tensor]
    is_previous: bool = False


class CheckpointFolder:
    """The newest checkpoint and the one before it, in one folder.

    The two files take turns: the older one is overwritten in place, synced, and only then gets the
    name of the newest. That waits for the disk once, and changes nothing that a journal keeps, so
    it takes less than writing a new file. A number inside says which one is newer: after a power
    cut the names may be those of before.
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which exists."""
        self.newest = folder / "checkpoint.safetensors"
        self.previous = folder / "checkpoint.previous.safetensors"
        self._incoming = folder / "checkpoint.safetensors.incoming"
        self._number = 0

    @property
    def paths(self) -> list[Path]:
        """The files that are there."""
        every = (self.newest, self.previous, self._incoming)
        return [path for path in every if path.exists()]

    def write(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint durably; the one that was newest becomes the previous one.

        Raises:
            OSError: if the disk refuses; what was newest before can still be read.
        """
        metadata = {
            "format": str(FORMAT),
            "number": str(self._number + 1),
            "state": json.dumps(document, separators=(",", ":")),
        }
        if self.previous.exists():
            self.previous.replace(self._incoming)
        is_recycled = self._incoming.exists()
        safetensors_file.write(self._incoming, tensors, metadata, header_multiple=HEADER_MULTIPLE)
        if self.newest.exists():
            self.newest.replace(self.previous)
        self._incoming.replace(self.newest)
        if not is_recycled:
            sync_folder(self.newest.parent)
        self._number += 1

    def epoch(self) -> int:
        """Return the largest epoch that a checkpoint names, be the file whole or not; 0 if none."""
        found = [0]
        for path in self.paths:
            with suppress(safetensors_file.DamagedFileError, KeyError, ValueError):
                document = json.loads(safetensors_file.read_metadata(path)["state"])
                found.append(int(document["epoch"]))
        return max(found)

    def peek(self) -> Checkpoint | None:
        """Return the newest checkpoint without touching anything, or None where there is none.

        Raises:
            DamagedFileError: if it is not whole.
        """
        if not self.newest.exists():
            return None
        tensors, metadata = safetensors_file.read(self.newest)
        return Checkpoint(json.loads(metadata["state"]), tensors)

    def read(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or None where there is none.

        It gets the name of the newest, so that the next one does not overwrite it.

        Raises:
            InvalidInputError: if there are only damaged ones, or the file is of a newer Warren.
        """
        numbers, problems = {}, {}
        is_newest_gone = self.paths == [self.previous]
        for path in self.paths:
            try:
                numbers[path] = _number(safetensors_file.read_metadata(path))
            except safetensors_file.DamagedFileError as error:
                problems[path] = str(error)
        for path in sorted(numbers, key=lambda path: -numbers[path]):
            try:
                tensors, metadata = safetensors_file.read(path)
            except safetensors_file.DamagedFileError as error:
                problems[path] = str(error)
                continue
            _check_format(path, metadata["format"])
            self._number = numbers[path]
            self._name_newest(path)
            document = json.loads(metadata["state"])
            return Checkpoint(
                document, tensors, is_previous=is_newest_gone or self.newest in problems
            )
        problems.pop(self._incoming, None)  # never whole, so never counted on
        if problems:
            raise InvalidInputError(
                f"no checkpoint in {self.newest.parent} can be read "
                f"({'; '.join(problems.values())}); restore one from a backup, or start anew "
                "with --fresh"
            )
        return None

    def _name_newest(self, best: Path) -> None:
        if best == self.newest:
            return
        if best == self.previous:
            best = self.previous.replace(self._incoming)
        if self.newest.exists():
            self.newest.replace(self.previous)
        best.replace(self.newest)
        sync_folder(self.newest.parent)


def _number(metadata: Mapping[str, str]) -> int:
    """Return which checkpoint this is, were the file whole."""
    try:
        return int(metadata["number"])
    except (KeyError, ValueError):
        raise safetensors_file.DamagedFileError("this is no checkpoint of Warren") from None


def _check_format(path: Path, found: str) -> None:
    if int(found) == FORMAT:
        return
    age = "a newer" if int(found) > FORMAT else "an older"
    raise InvalidInputError(
        f"{path} was written by {age} Warren (checkpoint format {found}, this one reads {FORMAT}); "
        "go on with that version, or start anew with --fresh"
    )
