"""How fast bytes may go, for all connections of a process together: others share the line."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

PIECES_PER_SECOND = 20
LEAST_PIECE_BYTES, LARGEST_PIECE_BYTES = 1 << 10, 64 << 10


class Pace:
    """A bound on bytes per second in one direction. Any thread may use it.

    Nothing is saved up: after a pause the pace is the same as before it.

    Args:
        bytes_per_second: the bound.
        clock: seconds that only grow.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        bytes_per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bytes_per_second = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()
        wanted = bytes_per_second // PIECES_PER_SECOND
        self.piece_bytes = min(max(wanted, LEAST_PIECE_BYTES), LARGEST_PIECE_BYTES)
        """So many bytes may go at once; they take some 50 ms, or more where 1 KiB does."""

    def spend(self, num_bytes: int) -> None:
        """Wait as long as bytes that went just now may take, behind those of other threads."""
        with self._lock:
            now = self._clock()
            self._free_at = max(now, self._free_at) + num_bytes / self.bytes_per_second
            seconds = self._free_at - now
        self._sleep(seconds)


@dataclass(frozen=True, slots=True)
class Paces:
    """The bounds of both directions; None is no bound."""

    down: Pace | None = None
    up: Pace | None = None

    @classmethod
    def of(cls, bytes_per_second: int | None) -> Self:
        """Return the same bound for each direction."""
        if bytes_per_second is None:
            return cls()
        return cls(Pace(bytes_per_second), Pace(bytes_per_second))

    def sent_ahead(self, most: int) -> int:
        """Return how many bytes to send ahead of confirmations: no more than a second's.

        What was sent ahead still goes when an upload is given up.
        """
        return most if self.up is None else min(most, self.up.bytes_per_second)


UNPACED = Paces()
