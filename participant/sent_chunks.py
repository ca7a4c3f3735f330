"""Which chunks of an update the broker has confirmed, so that an upload goes on where it stopped.

In a file of the state folder that outlives the process. The file is a hint and never synced: what
it does not name is sent again. If it names what got lost behind the broker, the coordinator misses
that and asks for the update, which is sent whole then.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from fanfold.schemas.chunking import Chunk

log = structlog.get_logger()

FILE = "sent-chunks"
_MISSING, _SENT = 0, 1


class SentChunks:
    """The chunks of one update at a time. Used by the work thread.

    The file is the digest of the whole message, 32 bytes, followed by one byte for each chunk, 1 if
    it is confirmed and else 0. The same message cut differently has another digest. The file is
    made when the first of several chunks is confirmed, and removed when all are.

    Args:
        folder: where an earlier process may have left a file; None keeps everything in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE
        self._digest = b""
        self._flags = bytearray()
        self._is_in_file = False
        self._is_warned = False

    def missing(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Return the chunks of an update that are not confirmed; all if it is to be sent again."""
        digest = bytes.fromhex(chunks[0].header.whole.digest)
        if digest != self._digest or _MISSING not in self._flags:
            self._begin(digest, len(chunks))
        return [chunk for chunk in chunks if self._flags[chunk.header.index] == _MISSING]

    def add(self, index: int) -> None:
        """Note that a chunk is confirmed."""
        self._flags[index] = _SENT
        if self._path is None or len(self._flags) == 1:
            return
        with self._warning():
            if self._is_in_file:
                self._is_in_file = False  # unless this succeeds
                with self._path.open("r+b") as file:
                    file.seek(len(self._digest) + index)
                    file.write(bytes([_SENT]))
            else:
                self._path.unlink(missing_ok=True)  # in a new file nothing of an old one can show
                self._path.write_bytes(self._digest + self._flags)
            self._is_in_file = True

    def forget(self) -> None:
        """Forget the update: it is confirmed, or is to be sent whole again."""
        self._digest, self._flags, self._is_in_file = b"", bytearray(), False
        if self._path is not None:
            with self._warning():
                self._path.unlink(missing_ok=True)

    def _begin(self, digest: bytes, num_chunks: int) -> None:
        """Take over what an earlier process noted of this very message; else nothing was sent."""
        self._is_warned = False
        left = b""
        with self._warning():
            if self._path is not None and self._path.exists():
                left = self._path.read_bytes()
        flags = left[len(digest) :]
        self._is_in_file = (
            left.startswith(digest) and len(flags) == num_chunks and set(flags) == {_MISSING, _SENT}
        )
        self._digest = digest
        self._flags = bytearray(flags if self._is_in_file else num_chunks)

    @contextmanager
    def _warning(self) -> Iterator[None]:
        """Go on if the disk refuses: then only this process knows what is sent."""
        try:
            yield
        except OSError as error:
            if not self._is_warned:
                log.warning(
                    "--state-dir does not say which chunks were sent; a restart sends them again",
                    reason=error.strerror,
                )
            self._is_warned = True
