"""Where updates that arrive in several chunks wait until they are whole.

On disk, so that memory does not grow.

A spool file is the message's bytes followed by one SHA-256 digest per chunk, zeros where the chunk
is missing. After a crash a chunk counts as received only if its bytes still have that digest. The
file is named by base version, sender and digest, so that two attempts at the same update never mix,
and so that what an earlier process left can be told too stale, or one too many of its sender.

Nothing goes for its age: its chunks are acknowledged, and nobody would send them again.
"""

import mmap
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from schemas.chunks import Assembly, ChunkPlace
from schemas.disk import sync_folder
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
        self._left: set[str] = set()
        """What an earlier process left, and nobody has gone on with yet."""
        self.take_over()

    def take_over(self) -> None:
        """Look for what earlier processes left; one that stands by looks again when it takes over.

        Raises:
            OSError: if the disk refuses.
        """
        found = {path.name for path in self._folder.iterdir() if _is_name(path.name)}
        self._left = found - self._files.keys()

    def add(self, sender: str, place: ChunkPlace, body: bytes, now: float) -> SpoolFile | None:
        """Store one chunk; return its message if that is whole now.

        Args:
            sender: the one who sent it, by the broker's word: others cannot spoil this message,
                nor take the room of its sender.
            place: where the chunk belongs.
            body: the chunk's bytes.
            now: seconds of a monotonic clock: which of a sender's messages was last gone on with.

        Raises:
            MalformedMessageError: if the chunk does not belong here or is damaged.
            OSError: if the disk is full.
        """
        owner = sha256(sender.encode()).hexdigest()
        name = f"{place.whole.labels.version or 0}.{owner}.{place.whole.digest}"
        if name not in self._files:
            if name in self._left:
                self._left.remove(name)
            else:
                self._make_room(owner)
            self._files[name] = self._open(self._folder / name, place, now)
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

    def expire(self, is_too_stale: Callable[[int], bool]) -> int:
        """Remove what is not whole and too stale to count; return how many."""
        gone = [
            file
            for file in self._files.values()
            if not file.assembly.complete and is_too_stale(_version(file.name))
        ]
        for file in gone:
            self.remove(file)
        left = {name for name in self._left if is_too_stale(_version(name))}
        for name in left:
            self._remove_left(name)
        return len(gone) + len(left)

    def clear(self) -> None:
        """Remove everything, files of an earlier process included."""
        for path in self._folder.iterdir():
            path.unlink()
        self._files.clear()
        self._left.clear()

    def _make_room(self, owner: str) -> None:
        """Let a sender's oldest unfinished message go when it begins one too many.

        Their number is what bounds the room that one sender can take from the disk.
        """
        left = sorted((name for name in self._left if _owner(name) == owner), key=_version)
        unfinished = [
            file
            for file in self._files.values()
            if _owner(file.name) == owner and not file.assembly.complete
        ]
        if len(left) + len(unfinished) < UNFINISHED_PER_SENDER:
            return
        if left:
            self._remove_left(left[0])
        else:
            self.remove(min(unfinished, key=lambda file: file.touched_at))

    def _remove_left(self, name: str) -> None:
        self._left.remove(name)
        (self._folder / name).unlink(missing_ok=True)

    def _open(self, path: Path, place: ChunkPlace, now: float) -> SpoolFile:
        room = FileRoom(path, place)
        assembly = Assembly(place, self._limits, room)
        try:
            assembly.restore(room.digests())
        except MalformedMessageError:
            path.unlink()
            raise
        return SpoolFile(room, assembly, now)


def _is_name(name: str) -> bool:
    return re.fullmatch(r"\d+\.[0-9a-f]{64}\.[0-9a-f]{64}", name) is not None


def _version(name: str) -> int:
    return int(name.split(".", maxsplit=1)[0])


def _owner(name: str) -> str:
    return name.split(".")[1]
