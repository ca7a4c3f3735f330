"""A message in a file: its bytes, followed by one BLAKE3 digest per chunk.

A missing chunk and its digest are zeros.
"""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanfold.schemas.chunking import ChunkHeader

_DIGEST_BYTES = 32
_BLOCK_BYTES = 1 << 20


class FileBuffer:
    """A file that is opened for each chunk, because thousands may be incomplete at a time.

    Chunks are written to the file and not to a mapping of it: so their pages are in the system's
    cache, and count as this process's memory only when the complete message is read.
    """

    def __init__(self, path: Path, header: ChunkHeader) -> None:
        """Create the file, or continue one of the same size."""
        self.path = path
        self.num_bytes = header.whole.num_bytes
        self._size = self.num_bytes + header.whole.count * _DIGEST_BYTES
        with self._opened() as descriptor:
            if os.fstat(descriptor).st_size != self._size:
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, self._size)

    def put(self, offset: int, body: bytes | memoryview) -> None:
        """Write bytes to their place.

        Raises:
            OSError: if the disk is full.
        """
        rest = memoryview(body)
        with self._opened() as descriptor:
            while rest:
                written = os.pwrite(descriptor, rest, offset)
                rest, offset = rest[written:], offset + written

    def view(self) -> memoryview:
        """Map the file; what is written to the view stays in this process."""
        with self._opened() as descriptor:
            mapped = mmap.mmap(descriptor, self._size, access=mmap.ACCESS_COPY)
        return memoryview(mapped)[: self.num_bytes]

    def put_digest(self, index: int, digest: bytes) -> None:
        """Note that a chunk is there."""
        self.put(self.num_bytes + index * _DIGEST_BYTES, digest)

    def digests(self) -> dict[int, bytes]:
        """Return what `put_digest` has written, also in an earlier process."""
        with self._opened() as descriptor:
            table = os.pread(descriptor, self._size - self.num_bytes, self.num_bytes)
        found = (table[at : at + _DIGEST_BYTES] for at in range(0, len(table), _DIGEST_BYTES))
        return {index: digest for index, digest in enumerate(found) if any(digest)}

    def sync(self) -> None:
        """Sync everything that was put.

        Raises:
            OSError: if the disk refuses: then what was put may be lost although the next sync
                succeeds, so call `put_again` before it.
        """
        with self._opened() as descriptor:
            os.fsync(descriptor)

    def put_again(self) -> None:
        """Write everything once more, so that the next sync writes it to the disk.

        Raises:
            OSError: if the disk refuses.
        """
        with self._opened() as descriptor:
            for offset in range(0, self._size, _BLOCK_BYTES):
                block = os.pread(descriptor, _BLOCK_BYTES, offset)
                if os.pwrite(descriptor, block, offset) < len(block):
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
