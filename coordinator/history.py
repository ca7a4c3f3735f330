"""The append-only record of a run.

One JSON object per line, durable up to what the checkpoint counts.
"""

import json
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from coordinator.settings import RoundSettings

MOST_TAIL_BYTES = 32 << 10
"""So much of the history may stand in the checkpoint before the file itself is synced."""


class History:
    """`history.jsonl`.

    What stands behind the length in the checkpoint was never committed and is cut off on resume.
    To wait for the disk once per commit and not twice, the last lines become durable within the
    checkpoint, as its tail; the file is synced when the tail grows long. Lines stay in memory until
    `flush` or `commit`, which can be tried again when the disk was full.
    """

    def __init__(self, path: Path, *, length: int = 0, tail: str = "") -> None:
        """Open `path`, keeping its first `length` bytes and then what the tail says."""
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._file.truncate(min(length, path.stat().st_size))
        self._synced = length
        self._tail = bytearray(tail.encode())
        self._pending = bytearray(self._tail)

    def append(self, record: dict[str, Any]) -> None:
        """Add one line; durable after the next commit. Touches no disk."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        self._pending += line
        self._tail += line

    def commit(self) -> dict[str, Any]:
        """Return what the checkpoint has to hold to make all lines durable.

        Raises:
            OSError: if the disk refuses.
        """
        self.flush()
        if len(self._tail) > MOST_TAIL_BYTES:
            os.fsync(self._file.fileno())
            self._synced += len(self._tail)
            self._tail.clear()
        return {"history_bytes": self._synced, "history_tail": self._tail.decode()}

    def flush(self) -> None:
        """Show all lines to readers of the file.

        Raises:
            OSError: if the disk refuses; what it took is not written twice.
        """
        while self._pending:
            written = self._file.write(self._pending)
            del self._pending[:written]

    def close(self) -> None:
        """Close the file; lines that were never flushed were never committed and are dropped."""
        self._file.close()


def started(
    settings: RoundSettings, *, run: str, epoch: int, version: int, private: bool = False
) -> dict[str, Any]:
    """Return the record of a start: the settings under which this and later versions train.

    `private` is a run whose aggregate carries noise that nobody can draw again.
    """
    return {
        "event": "started",
        "run": run,
        "epoch": epoch,
        "version": version,
        "private": private,
        "settings": settings.model_dump(mode="json", include=set(RoundSettings.model_fields)),
    }


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a history's records, oldest first."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


COUNTING = frozenset({"round", "commit", "updates_lost"})
"""Events that name updates which a checkpoint counted."""


def lost_updates(
    path: Path, length: int, *, events: AbstractSet[str] = COUNTING
) -> Iterator[dict[str, Any]]:
    """Yield the updates that a history counts behind its first `length` bytes, each once.

    Those of a round that was still open stand in `commit` records, and those that an earlier start
    found lost, before it was killed itself, in one of `updates_lost`.
    """
    if not path.exists():
        return
    seen = set()
    with path.open("rb") as file:
        file.seek(length)
        for line in file:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the last line of a crash
                return
            if record.get("event") in events:
                for update in record["updates"]:
                    name = (update["participant"], update["base_version"])
                    if name not in seen:
                        seen.add(name)
                        yield update
