"""The coordinator's roster: whose keys count. It is written by `fanfold enroll` and its like.

The folder holds `roster.json`, the coordinator's own `identity.pub`, which goes into everybody's
credentials, and the audit trail.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import structlog

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import check_identifier
from fanfold.sealing.identity import PublicIdentity
from fanfold.storage.disk import replacing

FILE = "roster.json"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Roster:
    """Who takes part, by id."""

    members: Mapping[str, PublicIdentity] = field(default_factory=lambda: MappingProxyType({}))
    revision: int = 0
    """Raised with every change."""
    removals: int = 0
    """Raised whenever keys cease to count: then the run's key changes."""

    def enroll(self, participant: str, identity: PublicIdentity) -> Self:
        """Return the roster with one more.

        Raises:
            InvalidInputError: if the id or the keys are on it already, or the id can be none.
        """
        check_identifier("the participant", participant)
        if participant in self.members:
            raise InvalidInputError(
                f"{participant} is on the roster already; `fanfold rotate {participant}` gives it "
                f"other keys, `fanfold revoke {participant}` removes it"
            )
        return self._with(participant, identity, self.removals)

    def rotate(self, participant: str, identity: PublicIdentity) -> Self:
        """Return the roster with other keys for somebody; the old ones do not count any more.

        Raises:
            InvalidInputError: if the id is not on it, or the new keys are somebody's.
        """
        self._check_known(participant)
        return self._with(participant, identity, self.removals + 1)

    def revoke(self, participant: str) -> Self:
        """Return the roster without somebody.

        Raises:
            InvalidInputError: if the id is not on it.
        """
        self._check_known(participant)
        members = {name: each for name, each in self.members.items() if name != participant}
        return replace(
            self, members=members, revision=self.revision + 1, removals=self.removals + 1
        )

    def _with(self, participant: str, identity: PublicIdentity, removals: int) -> Self:
        owner = next((name for name, each in self.members.items() if each == identity), None)
        if owner is not None:
            raise InvalidInputError(
                f"these are the keys of {owner} already; make others with `fanfold identity`"
            )
        members = {**self.members, participant: identity}
        return replace(self, members=members, revision=self.revision + 1, removals=removals)

    def _check_known(self, participant: str) -> None:
        if participant not in self.members:
            raise InvalidInputError(
                f"{participant} is not on the roster; `fanfold enroll {participant} --identity "
                "FILE.pub` puts it there"
            )

    def document(self) -> dict[str, Any]:
        """Return it as it stands in the file."""
        return {
            "revision": self.revision,
            "removals": self.removals,
            "members": {name: each.text() for name, each in sorted(self.members.items())},
        }

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return the roster that a file holds.

        Raises:
            ValueError: if it holds none.
        """
        try:
            document = json.loads(content)
            members = {
                check_identifier("the participant", name): PublicIdentity.parse(text)
                for name, text in document["members"].items()
            }
            return cls(members, int(document["revision"]), int(document["removals"]))
        except (InvalidInputError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None


def read_roster(folder: Path) -> Roster:
    """Return the roster of a folder; an empty one if there is none yet.

    Raises:
        InvalidInputError: if it is damaged or cannot be read.
    """
    path = folder / FILE
    try:
        return Roster.parse(path.read_bytes())
    except FileNotFoundError:
        return Roster()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InvalidInputError(
            f"{path} is damaged ({str(error)[:200]}); take it from a backup"
        ) from None


@contextmanager
def changing(folder: Path) -> Iterator[list[Roster]]:
    """Yield the roster in a list, and write what is in that list when the block ends.

    Two who change it take turns; a reader sees the old roster or the new one.

    Raises:
        InvalidInputError: if the roster is damaged, or the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "roster.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = [read_roster(folder)]
            yield held
            with replacing(folder / FILE) as file:
                file.write(json.dumps(held[0].document(), indent=1).encode() + b"\n")
    except OSError as error:
        raise InvalidInputError(
            f"--roster {folder} cannot be written ({error.strerror}); name another folder"
        ) from None


class RosterFile:
    """The roster of a folder, read again whenever the file was replaced. For one thread.

    The file that was read last stays open, so that no other one can have its inode.

    Raises:
        InvalidInputError: if it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self._roster = read_roster(folder)

    @property
    def roster(self) -> Roster:
        """The roster as it stands now; one that was damaged since stays as it was before."""
        path = self._folder / FILE
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return self._roster
        if self._file is not None and os.path.sameopenfile(self._file, file):
            os.close(file)
            return self._roster
        self.close()
        self._file = file
        try:
            self._roster = read_roster(self._folder)
        except InvalidInputError as error:
            log.warning("the roster is as it was before", reason=str(error))
        return self._roster

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
