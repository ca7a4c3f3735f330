"""What identifies an update in a run: who trained, and on which version."""

from collections.abc import Mapping
from typing import Any

Name = tuple[str, int]


def names_of(record: Mapping[str, Any]) -> list[Name]:
    """Return the updates that a record of a history names."""
    return [(update["participant"], update["base_version"]) for update in record["updates"]]
