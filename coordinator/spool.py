"""Where updates that arrive in several chunks wait until they are whole.

On disk, so that memory does not grow.

A spool file is the message's bytes followed by one SHA-256 digest per chunk, zeros where the chunk
is missing. After a crash a chunk counts as received only if its bytes still have that digest. The
file is named by sender, update and digest, so that two attempts at the same update never mix.
"""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from coordinator.safetensors_file import sync_folder
from schemas.chunks import Assembly, ChunkPlace
from schemas.errors import MalformedMessageError
from schemas.limits import Limits

UNFINISHED_PER_SENDER = 2
"""One update on its way, and one that a crash of its sender cut short."""
_DIGEST_BYTES = 32


class FileRoom:
    """Room in a file, which is opened for each chunk: thousands may be unfinished at a time.

    Chunks are written, and not stored through a mapping: then a page of the file weighs on the
    system's cache alone, and on this process not before the message is whole and looked at.
    """

    def __init__(self, path: Path, place: ChunkPlace) -> None:
        """Create the file, or take up one of the same size."""
        self.path = path
        self.num_bytes = place.whole.num_bytes
        self._size = self.num_bytes + place.whole.count * _DIGEST_BYTES
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
        """Return what `put_digest` noted, in an earlier life perhaps."""
        with self._opened() as descriptor:
            table = os.pread(descriptor, self._size - self.num_bytes, self.num_bytes)
        found = (table[at : at + _DIGEST_BYTES] for at in range(0, len(table), _DIGEST_BYTES))
        return {index: digest for index, digest in enumerate(found) if any(digest)}

    def sync(self) -> None:
        """Make everything durable that was put."""
        with self._opened() as descriptor:
            os.fsync(descriptor)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class SpoolFile:
    """One message on its way in."""

    room: FileRoom
    sender: str
    assembly: Assembly
    touched_at: float
    dirty: bool = field(default=False)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.room.path.name

    def add(self, place: ChunkPlace, body: bytes) -> bool:
        """Store a chunk; return whether the message is whole now.

        Raises:
            MalformedMessageError: if the chunk does not belong here or is damaged.
            OSError: if the disk is full; the same chunk can be added again.
        """
        whole = self.assembly.add(place, body)
        self.room.put_digest(place.index, place.chunk_digest)
        self.dirty = True
        return whole

    def sync(self) -> None:
        """Make what was stored durable."""
        if self.dirty:
            self.room.sync()
            self.dirty = False

    def remove(self) -> None:
        """Delete the file; its pages go when the last tensor built on it goes."""
        self.room.path.unlink(missing_ok=True)


class Spool:
    """The folder of all messages that are not whole yet, or folded but not committed."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Use `folder`, creating it if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._limits = limits
        self._files: dict[str, SpoolFile] = {}

    def add(self, sender: str, place: ChunkPlace, body: bytes, now: float) -> SpoolFile | None:
        """Store one chunk; return its message if that is whole now.

        Args:
            sender: the one who sent it, by the broker's word: others cannot spoil this message,
                nor take the room of its sender.
            place: where the chunk belongs.
            body: the chunk's bytes.
            now: seconds of a monotonic clock, for `expire`.

        Raises:
            MalformedMessageError: if the chunk does not belong here or is damaged.
            OSError: if the disk is full.
        """
        name = sha256(f"{sender}\0{place.whole.digest}".encode()).hexdigest()
        if name not in self._files:
            self._make_room(sender)
            self._files[name] = self._open(self._folder / name, sender, place, now)
        file = self._files[name]
        file.touched_at = now
        try:
            return file if file.add(place, body) else None
        except MalformedMessageError:
            if file.assembly.complete:  # the digest of the whole is wrong: nothing can be used
                self.remove(file)
            raise

    def sync(self) -> None:
        """Make all chunks durable, so that they can be acknowledged.

        A whole message is left out: it is folded, and what is committed with its chunks is the sum
        that it went into. Waiting for the disk to write it would be for nothing.
        """
        dirty = [file for file in self._files.values() if file.dirty and not file.assembly.complete]
        for file in dirty:
            file.sync()
        if dirty:
            sync_folder(self._folder)

    def remove(self, file: SpoolFile) -> None:
        """Forget a message that was committed or refused."""
        self._files.pop(file.name, None)
        file.remove()

    def expire(
        self, is_too_stale: Callable[[int], bool], *, now: float, max_age_seconds: float
    ) -> int:
        """Remove what is not whole and will never count: too stale, or silent for too long.

        Files that an earlier process left and nobody has gone on with are as old as their last
        chunk. Return how many.
        """
        gone = [
            file
            for file in self._files.values()
            if not file.assembly.complete
            and (
                is_too_stale(file.assembly.identity.labels.version or 0)
                or now - file.touched_at > max_age_seconds
            )
        ]
        for file in gone:
            self.remove(file)
        oldest = time.time() - max_age_seconds  # of a file: the clock on the wall
        orphans = [path for path in self._folder.iterdir() if path.name not in self._files]
        left = [path for path in orphans if path.stat().st_mtime < oldest]
        for path in left:
            path.unlink(missing_ok=True)
        return len(gone) + len(left)

    def clear(self) -> None:
        """Remove everything, files of an earlier process included."""
        for path in self._folder.iterdir():
            path.unlink()
        self._files.clear()

    def _make_room(self, sender: str) -> None:
        """Let a sender's oldest unfinished message go when it begins one too many.

        Their number is what bounds the room that one sender can take from the disk.
        """
        unfinished = [
            file
            for file in self._files.values()
            if file.sender == sender and not file.assembly.complete
        ]
        if len(unfinished) >= UNFINISHED_PER_SENDER:
            self.remove(min(unfinished, key=lambda file: file.touched_at))

    def _open(self, path: Path, sender: str, place: ChunkPlace, now: float) -> SpoolFile:
        room = FileRoom(path, place)
        assembly = Assembly(place, self._limits, room)
        try:
            assembly.restore(room.digests())
        except MalformedMessageError:
            path.unlink()
            raise
        return SpoolFile(room, sender, assembly, now)
