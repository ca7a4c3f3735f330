"""The models of versions that somebody wants kept, beside the last and the best: `versions/7.*`.

A version is written before the commit of its round, under a name that no reader looks for, and gets
its own once the round is committed: whatever is found is a version of the run as it went on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import Tensor

from fanfold.coordinator.persistence.model_names import SUFFIX, VERSIONS
from fanfold.schemas.errors import InvalidInputError
from fanfold.storage import safetensors_file
from fanfold.storage.disk import sync_folder

UNCOMMITTED = ".uncommitted"


@dataclass(frozen=True, slots=True)
class KeepRule:
    """Which versions are kept: every so many, and of those the newest ones."""

    every: int = 1
    newest: int | None = None
    """How many of the newest versions; None for all."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule of a number, of `all`, or of `every:K`.

        Raises:
            InvalidInputError: if it is none of them.
        """
        found = re.fullmatch(r"all|every:([1-9][0-9]{0,8})|([0-9]{1,9})", text)
        if found is None:
            raise InvalidInputError(
                f"{text!r} says not which versions to keep; use all, every:K for each K-th, or a "
                "number for the newest ones"
            )
        every, newest = found.groups()
        return cls(int(every or 1), None if newest is None else int(newest))

    def keeps(self, version: int, *, newest: int) -> bool:
        """Return whether a version is kept when another one is the newest."""
        is_new = self.newest is None or version > newest - self.newest
        return is_new and version % self.every == 0


class KeptVersions:
    """The kept versions of one run, on disk. Belongs to the coordinator's work thread."""

    def __init__(self, folder: Path, rule: KeepRule) -> None:
        """Use `versions` in the run's folder, which is made when something is put."""
        self._folder = folder / VERSIONS
        self._rule = rule
        self._kept: set[int] = set()
        self._uncommitted: set[int] = set()

    def wants(self, version: int) -> bool:
        """Return whether a new version is to be put."""
        return self._rule.keeps(version, newest=version)

    def put(self, version: int, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write a version whose round is not committed yet, and sync it.

        Raises:
            OSError: if the disk refuses; it can be tried again.
        """
        self._folder.mkdir(exist_ok=True)
        safetensors_file.replace(self._path(version, UNCOMMITTED), state, metadata)
        self._uncommitted.add(version)

    def committed(self, newest: int) -> None:
        """Give their names to the versions that were put, and remove those that the rule drops.

        Raises:
            OSError: if the disk refuses; it can be tried again.
        """
        if not self._uncommitted:
            return
        for version in self._uncommitted:
            path = self._path(version, UNCOMMITTED)
            if path.exists():  # it was renamed where this is tried again
                path.replace(self._path(version))
        self._kept |= self._uncommitted
        self._drop({each for each in self._kept if not self._rule.keeps(each, newest=newest)})
        sync_folder(self._folder)
        self._uncommitted.clear()

    def load(self, newest: int) -> None:
        """Look what an earlier coordinator left; nothing after the newest version counts.

        Raises:
            OSError: if the disk refuses; it can be tried again.
        """
        paths = list(self._folder.iterdir()) if self._folder.exists() else []
        found = {path: int(path.stem) for path in paths if path.stem.isdecimal()}
        self._kept = {each for path, each in found.items() if path.suffix == SUFFIX}
        self._uncommitted = set(found.values()) - self._kept
        self._drop({each for each in found.values() if each > newest})
        self.committed(newest)

    def _drop(self, versions: set[int]) -> None:
        for version in versions:
            for suffix in (SUFFIX, UNCOMMITTED):
                self._path(version, suffix).unlink(missing_ok=True)
        self._kept -= versions
        self._uncommitted -= versions

    def _path(self, version: int, suffix: str = SUFFIX) -> Path:
        return self._folder / f"{version}{suffix}"
