"""Participants that are named after the folders of their data."""

import re
from collections.abc import Sequence
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

NO_IDENTIFIER = re.compile(r"[^A-Za-z0-9_-]+")
MOST_LETTERS = 64
COORDINATOR = "coordinator"
"""The name of its process, of its log and of its keys: of no participant."""


def participants_of(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the id of each folder's participant: the folder's name.

    Letters that no id may have become a hyphen: `data/St. Anna` is of `St-Anna`.

    Raises:
        InvalidInputError: if two folders give the same id, or one gives none.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        name = NO_IDENTIFIER.sub("-", folder.resolve().name).strip("-")[:MOST_LETTERS]
        if not name or name == COORDINATOR:
            raise InvalidInputError(
                f"--data {folder} gives its participant no id: name it with letters or digits, "
                f"and not {COORDINATOR!r}"
            )
        if name in found:
            raise InvalidInputError(
                f"--data {found[name]} and --data {folder} would both be the participant {name!r}: "
                "folders give participants their names; rename one of them"
            )
        found[name] = folder
    return tuple(found)
