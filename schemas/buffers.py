"""Where the bytes of one message are put together."""

import mmap
from contextlib import suppress
from typing import Protocol

_SMALL_BYTES = 1024 * 1024


class Buffer(Protocol):
    """Where the bytes of one message are put together."""

    @property
    def num_bytes(self) -> int:
        """How many bytes it holds."""
        ...

    def put(self, offset: int, body: bytes | memoryview) -> None:
        """Store bytes; what was announced has been checked."""

    def view(self) -> memoryview:
        """Return all bytes without a copy, writable by whoever got them."""
        ...


class MemoryBuffer:
    """Space in this process's memory.

    Args:
        buffer: writable, of any shape.

    Raises:
        ValueError: if it is read-only.
    """

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer.cast("B")
        if self._buffer.readonly:
            raise ValueError("the buffer is not writable")

    @classmethod
    def of(cls, num_bytes: int) -> "MemoryBuffer":
        """Ask for memory that the system hands out page by page as chunks arrive.

        So an announcement alone takes none.
        """
        if num_bytes <= _SMALL_BYTES:
            # Memory that was used before is not handed out page by page, which is a third of the
            # cost of receiving a small message.
            return cls(memoryview(bytearray(num_bytes)))
        # ACCESS_COPY makes it private to this process, and not shared memory.
        pages = mmap.mmap(-1, num_bytes, access=mmap.ACCESS_COPY)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel without them; five times faster where there are any
                pages.madvise(mmap.MADV_HUGEPAGE)
        return cls(memoryview(pages))

    @classmethod
    def holding(cls, body: bytes | memoryview) -> "MemoryBuffer":
        """Return a copy of bytes, where they are few in memory that is not zeroed first."""
        if len(body) <= _SMALL_BYTES:
            return cls(memoryview(bytearray(body)))
        buffer = cls.of(len(body))
        buffer.put(0, body)
        return buffer

    @property
    def num_bytes(self) -> int:
        """How many bytes it holds."""
        return self._buffer.nbytes

    def put(self, offset: int, body: bytes | memoryview) -> None:
        """Copy bytes to their place."""
        self._buffer[offset : offset + len(body)] = body

    def view(self) -> memoryview:
        """Return the buffer."""
        return self._buffer
