"""The checkpoint, which decides what was counted.

Only what it holds is acknowledged at the broker.

It has two parts. The base holds everything, and is written when a round closes. While a round is
open the model and the optimizer's state do not change: a commit then writes only the progress,
which is the document and the sum of the round, and names the base that it belongs to.
"""

import secrets
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fanfold.coordinator.persistence.alternating_files import AlternatingFiles, Found
from fanfold.schemas.errors import InvalidInputError
from fanfold.storage import safetensors_file
from fanfold.storage.safetensors_file import DamagedFileError

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read: a JSON document and tensors.

    `is_previous` when the newest file was damaged, or is gone.
    """

    document: dict[str, Any]
    tensors: dict[str, Tensor]
    is_previous: bool = False


@dataclass(frozen=True, slots=True)
class Basis:
    """What says whether a base is still valid: only the tensors `changing` have changed since.

    `changing` are first parts of names such as `sum/weight`.
    """

    run: str
    version: int
    changing: AbstractSet[str]


class CheckpointStore:
    """The base and the progress, each in two files that are written alternately."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which exists."""
        self._folder = folder
        self._base = AlternatingFiles(folder, "checkpoint")
        self._progress = AlternatingFiles(folder, "progress")
        self._base_id = ""
        self._basis: Basis | None = None
        """That of the base that was written last; None where it is not known."""

    @property
    def paths(self) -> list[Path]:
        """The files that are there."""
        return [*self._base.paths, *self._progress.paths]

    def check_there(self) -> None:
        """Check that there is a checkpoint to go on from.

        Raises:
            InvalidInputError: if there is none.
        """
        if not self.paths:
            raise InvalidInputError(
                f"--restored goes on from a backup, and --out {self._folder} holds no checkpoint; "
                "put the backup there first, or leave --restored out"
            )

    def write(
        self,
        document: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        basis: Basis | None = None,
    ) -> None:
        """Write a checkpoint to one file and sync it: only the progress if the base is still valid.

        Raises:
            OSError: if the disk refuses; what was newest before can still be read.
        """
        metadata = {"format": str(FORMAT), "epoch": str(document.get("epoch", 0))}
        if basis is not None and basis == self._basis and self._base.newest.exists():
            changed = {
                name: tensor
                for name, tensor in tensors.items()
                if name.partition("/")[0] in basis.changing
            }
            self._progress.write(document, changed, {**metadata, "base": self._base_id})
            return
        self._basis = None
        base_id = secrets.token_hex(8)
        self._base.write(document, tensors, {**metadata, "id": base_id})
        self._base_id, self._basis = base_id, basis

    def epoch(self) -> int:
        """Return the largest epoch that a checkpoint names, be the file whole or not; 0 if none."""
        found = [0]
        for path in self.paths:
            with suppress(DamagedFileError, KeyError, ValueError):
                found.append(int(safetensors_file.read_metadata(path)["epoch"]))
        return max(found)

    def peek(self) -> Checkpoint | None:
        """Return the newest base without touching anything, or None where there is none.

        Raises:
            DamagedFileError: if it is not whole.
        """
        found = self._base.peek()
        return None if found is None else Checkpoint(found.document, found.tensors)

    def read(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or None where there is none.

        Raises:
            InvalidInputError: if there are only damaged ones, or one of another format.
        """
        self._basis = None
        base = self._base.read(is_wanted=lambda _: True)
        if base is None:
            if self._base.problems:
                raise InvalidInputError(
                    f"no checkpoint in {self._base.newest.parent} can be read "
                    f"({'; '.join(self._base.problems.values())}); restore one from a backup, or "
                    "start anew with --fresh"
                )
            return None
        _check_format(base)
        progress = self._progress.read(
            is_wanted=lambda metadata: metadata.get("base") == base.metadata["id"]
        )
        is_previous = base.is_previous or bool(self._progress.problems)
        if progress is None:
            return Checkpoint(base.document, base.tensors, is_previous)
        tensors = {**base.tensors, **progress.tensors}
        return Checkpoint(progress.document, tensors, is_previous or progress.is_previous)


def _check_format(base: Found) -> None:
    found = int(base.metadata["format"])
    if found != FORMAT:
        age = "a newer" if found > FORMAT else "an older"
        raise InvalidInputError(
            f"{base.path} was written by {age} Fanfold (checkpoint format {found}, this one reads "
            f"{FORMAT}); go on with that version, or start anew with --fresh"
        )
