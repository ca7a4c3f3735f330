"""Which data each of several participants has: a share of one folder, or a folder of its own."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def share_of(
    index: int, data: Sequence[Path], *, partition: str, num_partitions: int
) -> dict[str, Any]:
    """Return the settings of `ParticipantSettings` that say which data a participant has.

    Args:
        index: of the participant.
        data: one folder, which is divided, or none; or several, one of each participant.
        partition: how it is divided.
        num_partitions: into how many shares.
    """
    if len(data) > 1:
        return {"data": data[index]}
    return {
        "data": data[0] if data else None,
        "partition": partition,
        "partition_index": index,
        "num_partitions": num_partitions,
    }
