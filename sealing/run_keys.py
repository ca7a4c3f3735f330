"""The keys of a run: what its versions are sealed with, kept where a restart finds them.

The key changes with the first version after somebody was taken off the roster. The file holds the
last two, because a coordinator that was killed may have to seal the version before again, and to
the same bytes: who has trained on it must recognise it.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.derivation import KEY_BYTES, derived
from fanfold.sealing.identity import PublicIdentity
from fanfold.storage.disk import replacing

FILE = "run-keys.json"
KEPT_KEYS = 2


def version_key(run_key: bytes, content: str, coordinator: PublicIdentity) -> bytes:
    """Return the key of the segments of one message to everybody.

    Args:
        run_key: that of the table in the message.
        content: from its headers, 64 hex digits.
        coordinator: who seals.
    """
    return derived(run_key, b"fanfold version 1" + coordinator.signing, bytes.fromhex(content))


@dataclass(frozen=True, slots=True)
class RunKey:
    """A key, and where it begins."""

    secret: bytes = field(repr=False)
    from_version: int
    removals: int
    """Of the roster: how many had been taken off it by then."""


class RunKeys:
    """The keys of the run in one folder, mode 0600. For the coordinator's work thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def key_for(self, run: str, version: int, *, removals: int, is_known: bool) -> RunKey:
        """Return the key that a version is sealed with; a new one is synced before it is returned.

        Args:
            run: the run's id; the keys of another one are dropped.
            version: the version.
            removals: of the roster now.
            is_known: whether the version was published before: then its key stays.

        Raises:
            InvalidInputError: if the file is damaged.
            OSError: if the disk refuses.
        """
        keys = self._read(run)
        fitting = [key for key in keys if key.from_version <= version]
        if fitting and (is_known or fitting[-1].removals == removals):
            return fitting[-1]
        new = RunKey(secrets.token_bytes(KEY_BYTES), version, removals)
        self._write(run, [*fitting, new][-KEPT_KEYS:])
        return new

    def _read(self, run: str) -> list[RunKey]:
        try:
            document = json.loads(self._path.read_bytes())
            if document["run"] != run:
                return []
            keys = [
                RunKey(bytes.fromhex(each["secret"]), each["from_version"], each["removals"])
                for each in document["keys"]
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            keys = []
        if not keys or any(len(key.secret) != KEY_BYTES for key in keys):
            raise InvalidInputError(
                f"{self._path} is damaged; take it from a backup, or remove it: then the open "
                "version is sealed with a new key, and everybody trains it again"
            )
        return keys

    def _write(self, run: str, keys: list[RunKey]) -> None:
        document = {
            "run": run,
            "keys": [
                {
                    "from_version": key.from_version,
                    "removals": key.removals,
                    "secret": key.secret.hex(),
                }
                for key in keys
            ],
        }
        with replacing(self._path) as file:
            os.fchmod(file.fileno(), 0o600)  # before the content is there
            file.write(json.dumps(document).encode() + b"\n")
