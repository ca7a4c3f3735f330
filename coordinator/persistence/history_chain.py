"""The hashes that chain the lines of a history, so that a changed byte is noticed.

A line is one JSON object whose last member is `chain`. Its value is the SHA-256, in lower-case
hexadecimal, of the line before's `chain` (64 zeros for the first line) followed by the bytes of
this line without that member and without the line feed:

    {"event":"round","round":1}                                         what is hashed
    {"event":"round","round":1,"chain":"835b…"}                         what stands in the file
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

START = "0" * 64
"""What the first line is chained to."""
_LINE = re.compile(rb'(\{.*),"chain":"([0-9a-f]{64})"\}\n', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a checkpoint says of its history: so many bytes of the file, and then the tail.

    `chain` is the hash of the last line.
    """

    num_bytes: int = 0
    tail: str = ""
    chain: str = START

    def state(self) -> dict[str, object]:
        """Return it for the checkpoint's document."""
        return {
            "history_bytes": self.num_bytes,
            "history_tail": self.tail,
            "history_chain": self.chain,
        }


class DamagedHistoryError(InvalidInputError):
    """Raised when a history is not the one that a checkpoint counts on.

    `intact` is what is left of it, `num_lines` how many lines that are.
    """

    def __init__(self, message: str, *, intact: Committed, num_lines: int) -> None:
        super().__init__(message)
        self.intact = intact
        self.num_lines = num_lines


def sealed(record: bytes, chain: str) -> tuple[bytes, str]:
    """Return the line of a JSON object of at least one member, and its hash.

    >>> line, chain = sealed(b'{"event":"round"}', START)
    >>> line[:40]
    b'{"event":"round","chain":"0f667e412c192c'
    """
    chain = _chained(record, chain)
    return record[:-1] + f',"chain":"{chain}"}}\n'.encode(), chain


def intact_lines(path: Path, committed: Committed) -> Iterator[bytes]:
    """Yield the lines that a checkpoint counts on, one after the other, as they are found right.

    Those of its tail are taken from there: a power cut may have taken them from the file.

    Raises:
        DamagedHistoryError: at the first one that is missing or changed.
    """
    num_bytes = num_lines = 0
    chain = START
    try:
        with path.open("rb") as file:
            while num_bytes < committed.num_bytes:
                line = file.readline()
                following = _follows(line, chain)
                if following is None or num_bytes + len(line) > committed.num_bytes:
                    break
                yield line
                chain, num_bytes, num_lines = following, num_bytes + len(line), num_lines + 1
    except FileNotFoundError:
        pass
    intact = Committed(num_bytes, "", chain)
    found = path.stat().st_size if path.exists() else 0
    if found < committed.num_bytes:
        raise DamagedHistoryError(
            f"{path} has {found} bytes, and its checkpoint counts on {committed.num_bytes}: lines "
            "of it are lost",
            intact=intact,
            num_lines=num_lines,
        )
    if num_bytes < committed.num_bytes:
        raise DamagedHistoryError(
            f"line {num_lines + 1} of {path} was changed after it was written: its hash differs",
            intact=intact,
            num_lines=num_lines,
        )
    for line in committed.tail.encode().splitlines(keepends=True):
        chain = _follows(line, chain) or ""
        yield line
    if chain != committed.chain:
        raise DamagedHistoryError(
            f"{path} is another run's: its hashes are not those that its checkpoint counts on",
            intact=Committed(),
            num_lines=0,
        )


def _follows(line: bytes, chain: str) -> str | None:
    """Return a line's hash if it is whole and follows the one with the hash `chain`."""
    parts = _LINE.fullmatch(line)
    if parts is None or _chained(parts[1] + b"}", chain) != parts[2].decode():
        return None
    return parts[2].decode()


def _chained(record: bytes, chain: str) -> str:
    return sha256(chain.encode() + record).hexdigest()
