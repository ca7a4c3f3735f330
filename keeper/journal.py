"""What a keeper has promised and refused, written down before anybody hears of it.

One JSON object a line, chained by hashes (`storage/chained_lines.py`) and synced. What is promised
is that the updates of a set belong to it alone; whoever restores an old journal breaks it.

Promises are as many as updates. Refusals cost whoever asks nothing, so that they must not fill the
disk: the first `WHOLE_REFUSALS` are written, and later ones if their number is a power of two.
"""

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.timestamps import Clock, iso_utc
from fanfold.storage.chained_lines import START, chained, follows
from fanfold.storage.compact_json import compact_json
from fanfold.storage.disk import sync_folder, until_there_is_room

FILE = "journal.jsonl"
WHOLE_REFUSALS = 4096
NAMED_MEMBERS = 16
"""So many members of a refused set are named; its digest is of all of them."""
UpdateName: TypeAlias = tuple[str, str, int]
"""Run, participant and base version."""


class Journal:
    """The journal of one folder, which one process has at a time.

    Args:
        folder: made if it is not there.
        clock: puts the time on each line.
        pause: called while the disk refuses a line, before the next attempt.

    Raises:
        InvalidInputError: if the folder cannot be used, or a line was changed.
    """

    def __init__(self, folder: Path, clock: Clock, *, pause: Callable[[OSError], None]) -> None:
        self.path = folder / FILE
        self._clock, self._pause = clock, pause
        self._sets: dict[UpdateName, str] = {}
        self._chain, self._length = START, 0
        self._refusals = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise _unusable(folder, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
            self._file.truncate(self._length)  # what a crash left of a line promised nothing yet
            sync_folder(folder)
        except BlockingIOError:
            self._file.close()
            raise InvalidInputError(
                f"another keeper uses --state-dir {folder}; name another folder"
            ) from None
        except OSError as error:
            self._file.close()
            raise _unusable(folder, error) from None
        except InvalidInputError:
            self._file.close()
            raise

    def set_of(self, update: UpdateName) -> str | None:
        """Return the digest of the set that an update belongs to; None if to none so far."""
        return self._sets.get(update)

    def promise(self, set_digest: str, updates: Sequence[UpdateName]) -> None:
        """Write down that these updates belong to this set alone; on the disk when it returns."""
        run = updates[0][0]
        members = [[participant, version] for _, participant, version in updates]
        self._append({"event": "set", "run": run, "set": set_digest, "members": members})
        self._sets.update(dict.fromkeys(updates, set_digest))

    def refuse(self, set_digest: str, updates: Sequence[UpdateName], reason: str) -> None:
        """Write down what was asked for and not told, unless that was very often already."""
        self._refusals += 1
        number = self._refusals
        if number > WHOLE_REFUSALS and number.bit_count() > 1:
            return
        named = updates[:NAMED_MEMBERS]
        self._append(
            {
                "event": "refused",
                "number": number,
                "run": updates[0][0],
                "set": set_digest,
                "reason": reason,
                "of": len(updates),
                "members": [[participant, version] for _, participant, version in named],
            }
        )

    def close(self) -> None:
        """Close the file, and let another process have the folder."""
        self._file.close()

    def _append(self, record: dict[str, Any]) -> None:
        record = {"event": record["event"], "time": iso_utc(self._clock()), **record}
        line, chain = chained(compact_json(record).encode(), self._chain)

        def write() -> None:
            self._file.truncate(self._length)  # a line that was not synced may be lost: anew
            rest = line
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())

        until_there_is_room(write, self._pause)
        self._chain, self._length = chain, self._length + len(line)

    def _read(self) -> None:
        self._file.seek(0)
        with os.fdopen(os.dup(self._file.fileno()), "rb") as lines:
            for number, line in enumerate(lines, 1):
                chain = follows(line, self._chain)
                if chain is None and not line.endswith(b"\n"):
                    return
                if chain is None:
                    raise InvalidInputError(
                        f"line {number} of {self.path} was changed after it was written; a keeper "
                        "that does not know what it promised must not answer: restore the file"
                    )
                record = json.loads(line)
                if record["event"] == "set":
                    for participant, version in record["members"]:
                        self._sets[record["run"], participant, version] = record["set"]
                else:
                    self._refusals = record.get("number", self._refusals + 1)
                self._chain, self._length = chain, self._length + len(line)


def _unusable(folder: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        f"--state-dir {folder} cannot be used ({error.strerror}); choose another folder"
    )
