"""Who was enrolled, revoked, joined and left, when and by whom: a file that only grows.

One JSON object a line, each chained to the one before by its hash (`storage/chained_lines.py`), so
that a line that is changed, moved or taken out is noticed. Whoever notes the last hash elsewhere
can tell later that no line was cut off either.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.timestamps import Clock, iso_utc
from fanfold.storage.chained_lines import START, chained, follows, hash_of
from fanfold.storage.compact_json import compact_json

FILE = "audit.jsonl"
MAX_LINE_BYTES = 64 << 10
MAX_DETAIL = 1024
"""Characters of each detail that are kept."""


log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The trail in one folder. Processes take turns to write into it.

    Attributes:
        folder: of the roster.
        clock: what time it is.
        by: who writes.
    """

    folder: Path
    clock: Clock
    by: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def append(self, event: str, participant: str, **details: str) -> None:
        """Write one line, and sync it.

        What a crash left of a line is replaced: its writer never heard that it was written.

        Raises:
            InvalidInputError: if the last line is none of ours.
            OSError: if the disk refuses.
        """
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            chain = self._last_hash(file)
            record = {
                "time": iso_utc(self.clock()),
                "event": event,
                "participant": participant,
                "by": self.by,
                **{name: text[:MAX_DETAIL] for name, text in details.items()},
            }
            line, _ = chained(compact_json(record).encode(), chain)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def note(self, event: str, participant: str, reason: str = "") -> None:
        """Write one line, or say in the log why it could not be written: a run goes on without."""
        try:
            self.append(event, participant, **({"reason": reason} if reason else {}))
        except (OSError, InvalidInputError) as error:
            log.warning("not in the audit trail", told=event, of=participant, reason=str(error))

    def _last_hash(self, file: BinaryIO) -> str:
        """Return the hash of the last whole line, and drop what stands behind it."""
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_LINE_BYTES))
        tail = file.read()
        whole, _, _ = tail.rpartition(b"\n")
        torn = len(tail) - len(whole) - 1 if b"\n" in tail else len(tail)
        if torn:
            file.truncate(size - torn)
        if not whole:
            return START
        chain = hash_of(whole.rpartition(b"\n")[2] + b"\n")
        if chain is None:
            raise InvalidInputError(
                f"the last line of {self.path} was not written by fanfold; "
                "look into it with `fanfold audit`, and keep a copy before you mend it"
            )
        return chain


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line that was found right.

    Attributes:
        record: its members.
        chain: its hash.
    """

    record: dict[str, str]
    chain: str


def checked_lines(path: Path) -> Iterator[AuditLine]:
    """Yield the lines of a trail, one after the other, as they are found right.

    Raises:
        InvalidInputError: at the first one that is changed, or if there is no such file.
    """
    chain, number = START, 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                following = follows(line, chain)
                if following is None:
                    raise InvalidInputError(
                        f"line {number} of {path} was changed, moved or cut off after it was "
                        f"written: its hash does not follow from line {number - 1}"
                    )
                chain = following
                record = json.loads(line)
                del record["chain"]
                yield AuditLine(record, chain)
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error.strerror}); name the folder of a roster"
        ) from None
