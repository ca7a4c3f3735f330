"""The append-only record of a run.

One JSON object per line, durable up to what the checkpoint counts. `time` says when it was written
(UTC; of a simulation the simulated time since 1970-01-01), and `event` what it is:
`started` (the settings from here on), `commit` (updates folded into a round that is still open),
`round` (all updates in a version, in the order of folding), `round_closed` (the event of its end),
`updates_lost` (with a damaged checkpoint), `history_lost` (lines before it were lost, and that was
accepted), `set_lost` (masked updates that were committed and do not count), `upload_damaged`
(parts of an update that had been acknowledged).
"""

import json
import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from fanfold.coordinator.persistence.history_chain import (
    Committed,
    DamagedHistoryError,
    intact_lines,
)
from fanfold.coordinator.settings import RoundSettings
from fanfold.schemas.timestamps import Clock, iso_utc
from fanfold.storage.chained_lines import chained
from fanfold.storage.compact_json import compact_json

HISTORY = "history.jsonl"
"""The file's name in a run's folder."""
MOST_TAIL_BYTES = 32 << 10
"""Most bytes of the history that the checkpoint holds before the file itself is synced."""


class History:
    """`history.jsonl`.

    What follows after the length in the checkpoint was never committed and is cut off on resume.
    To wait for the disk once per commit and not twice, the last lines become durable within the
    checkpoint, as its tail; the file is synced when the tail grows long. Lines stay in memory until
    `flush` or `commit`, which can be tried again when the disk was full.
    `storage/chained_lines.py` says how lines are chained by hashes.
    """

    def __init__(
        self, path: Path, committed: Committed | None = None, *, wall_clock: Clock | None = None
    ) -> None:
        """Open `path`, keeping what is committed of it: by default nothing.

        `wall_clock` puts the time on each line that comes without one; None leaves them as they
        are.
        """
        committed = committed or Committed()
        self._wall_clock = wall_clock
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._file.truncate(min(committed.num_bytes, path.stat().st_size))
        self._synced = committed.num_bytes
        self._tail = bytearray(committed.tail.encode())
        self._pending = bytearray(self._tail)
        self._chain = committed.chain
        self._is_file_unsure = False
        """Whether a sync failed: then what was written since the last one may be lost."""

    def append(self, record: dict[str, Any]) -> None:
        """Add one line; durable after the next commit. Touches no disk."""
        if self._wall_clock is not None:
            time = iso_utc(self._wall_clock())
            record = {"event": record["event"], "time": time} | record
        line, self._chain = chained(compact_json(record).encode(), self._chain)
        self._pending += line
        self._tail += line

    def commit(self) -> dict[str, object]:
        """Return what the checkpoint has to hold to make all lines durable.

        Raises:
            OSError: if the disk refuses.
        """
        self.flush()
        if len(self._tail) > MOST_TAIL_BYTES:
            try:
                os.fsync(self._file.fileno())
            except OSError:
                self._is_file_unsure = True
                raise
            self._synced += len(self._tail)
            self._tail.clear()
        return Committed(self._synced, self._tail.decode(), self._chain).state()

    def flush(self) -> None:
        """Show all lines to readers of the file.

        Raises:
            OSError: if the disk refuses; what it took is not written twice.
        """
        if self._is_file_unsure:  # syncing it again would succeed, and make nothing durable
            self._file.truncate(self._synced)
            self._pending = bytearray(self._tail)
            self._is_file_unsure = False
        while self._pending:
            written = self._file.write(self._pending)
            del self._pending[:written]

    def close(self) -> None:
        """Close the file; lines that were never flushed were never committed and are dropped."""
        self._file.close()


def committed_in(document: Mapping[str, Any]) -> Committed:
    """Return what a checkpoint's document says of its history."""
    return Committed(document["history_bytes"], document["history_tail"], document["history_chain"])


def damage_of(path: Path, committed: Committed) -> DamagedHistoryError | None:
    """Read everything that a checkpoint counts on, and say what is missing or was changed."""
    try:
        for _ in intact_lines(path, committed):
            pass
    except DamagedHistoryError as damage:
        return damage
    return None


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
    """Yield a history's records, oldest first, unchecked."""
    with path.open("rb") as file:
        for line in file:
            yield _record(line)


def committed_history(path: Path, committed: Committed) -> Iterator[dict[str, Any]]:
    """Yield the records that a checkpoint counts on, oldest first.

    Raises:
        DamagedHistoryError: if any of it is missing or was changed, in its tail too.
    """
    for line in intact_lines(path, committed):
        yield _record(line)
    tail = committed.tail.encode()
    with path.open("rb") as file:
        file.seek(committed.num_bytes)
        found = file.read(len(tail))
    if not tail.startswith(found):
        raise DamagedHistoryError(
            f"the last lines of {path} were changed after they were written: they are not those "
            "of its checkpoint",
            intact=committed,
            num_lines=0,
        )


def _record(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    record.pop("chain", None)
    return record


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
            except ValueError:  # the last line of a crash
                continue
            if record.get("event") in events:
                for update in record["updates"]:
                    name = (update["participant"], update["base_version"])
                    if name not in seen:
                        seen.add(name)
                        yield update
