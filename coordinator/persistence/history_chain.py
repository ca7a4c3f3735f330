"""The lines of a history that a checkpoint counts on, found right one after the other.

They are chained by their hashes: see `storage/chained_lines.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError
from fanfold.storage.chained_lines import START, follows


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
                following = follows(line, chain)
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
        chain = follows(line, chain) or ""
        yield line
    if chain != committed.chain:
        raise DamagedHistoryError(
            f"{path} is another run's: its hashes are not those that its checkpoint counts on",
            intact=Committed(),
            num_lines=0,
        )
