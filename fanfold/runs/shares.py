"""Which participant of a recorded run had which data, which no history says."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fanfold.participant.data_folders import participants_of
from fanfold.runs.settings import ReplaySettings
from fanfold.schemas.errors import InvalidInputError


def participants_by_data(
    records: Iterable[Mapping[str, Any]], settings: ReplaySettings
) -> list[str]:
    """Return the participants in the order of their folders, or of their shares of the data.

    Raises:
        InvalidInputError: if somebody's data is not known.
    """
    participants = _participants(records)
    by_data = _by_folder if len(settings.data) > 1 else _by_partition
    return by_data(participants, settings)


def _participants(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        update["participant"]
        for record in records
        if record["event"] == "round"
        for update in record["updates"]
    }


def _by_folder(participants: set[str], settings: ReplaySettings) -> list[str]:
    """Return the participants by their folders of data, which are named after them."""
    names = participants_of(settings.data)
    missing = sorted(participants.difference(names))
    if missing:
        raise InvalidInputError(
            f"the run has updates of {missing[0]}, and no --data is a folder of that name; name "
            "the folders that the participants had"
        )
    return list(names)


def _by_partition(participants: set[str], settings: ReplaySettings) -> list[str]:
    """Return the participants by their share of the data: as given, else by the ids' numbers."""
    told = {
        name: part for name, _, part in (item.rpartition("=") for item in settings.partition_of)
    }
    index: dict[int, str] = {}
    for name in sorted(participants):
        digits = told.get(name) or (re.search(r"\d+$", name) or [""])[0]
        if not digits.isdecimal() or int(digits) in index:
            raise InvalidInputError(
                f"which part of the data {name} had is not known; say --partition-of {name}=0"
            )
        index[int(digits)] = name
    count = settings.num_partitions or max(index, default=0) + 1
    if max(index, default=0) >= count:
        raise InvalidInputError(f"{index[max(index)]} is not one of {count} partitions")
    return [index.get(part, f"nobody-{part}") for part in range(count)]
