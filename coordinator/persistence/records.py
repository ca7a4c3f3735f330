"""The records of a run's history, for whoever only reads: also while the run is writing it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fanfold.coordinator.persistence.history import read_history
from fanfold.schemas.errors import InvalidInputError

Record = dict[str, Any]
ONCE = ("round", "round_closed")
"""Events of which each round has one."""


def records_of(path: Path) -> Iterator[Record]:
    """Yield the records, oldest first.

    A last line that is not whole is left out: the run may be writing it. A round that was told
    twice, because its coordinator was killed in between, counts once.

    Raises:
        InvalidInputError: if the file cannot be read.
    """
    told: set[tuple[str, int]] = set()
    try:
        for record in read_history(path):
            if record["event"] in ONCE:
                key = (record["event"], record["round"])
                if key in told:
                    continue
                told.add(key)
            yield record
    except json.JSONDecodeError:
        return
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read ({error.strerror})") from None
