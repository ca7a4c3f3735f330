"""Updates that arrive in several chunks, in files until they are complete.

On disk, so that memory does not grow.

A spool file is the message's bytes followed by one BLAKE3 digest per chunk, zeros where the chunk
is missing. After a crash a chunk counts as received only if its bytes still have that digest. The
file is named by base version, sender and digest, so that two attempts at the same update never mix,
and so that files of an earlier process can be recognised as too stale or over a sender's limit.

Files never expire by age: their chunks are already acknowledged and would not be redelivered.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fanfold.coordinator.persistence.file_buffer import FileBuffer
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.storage.disk import may_pass, sync_folder

UNFINISHED_PER_SENDER = 2
"""One update that is being sent, and one that a crash of its sender cut short."""


@dataclass(slots=True)
class SpoolFile:
    """One message that is being received."""

    buffer: FileBuffer
    assembly: Assembly
    touched_at: float
    is_continued: bool
    """Whether another process received its beginning."""
    dirty: bool = False
    is_unsure: bool = False
    """Whether a sync failed."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.buffer.path.name

    def add(self, header: ChunkHeader, body: bytes) -> bool:
        """Store a chunk; return whether the message is whole now.

        Raises:
            MalformedMessageError: if the chunk does not belong here or is damaged.
            OSError: if the disk is full; the same chunk can be added again.
        """
        whole = self.assembly.add(header, body)
        self.buffer.put_digest(header.index, header.chunk_digest)
        self.dirty = True
        return whole

    def sync(self) -> None:
        """Sync what was stored."""
        if not self.dirty:
            return
        if self.is_unsure:
            self.buffer.put_again()
        self.is_unsure = True
        self.buffer.sync()
        self.dirty = self.is_unsure = False


@dataclass(frozen=True, slots=True)
class DamagedUpload:
    """An update whose last chunk arrived while chunks that were acknowledged are missing."""

    header: ChunkHeader
    missing: tuple[int, ...]
    """Indices of the missing chunks, which are not sent again without a request."""


class Spool:
    """The folder of all messages that are not whole yet, or folded but not committed."""

    def __init__(self, folder: Path, limits: ReaderLimits) -> None:
        """Use `folder`, creating it if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._limits = limits
        self._files: dict[str, SpoolFile] = {}
        self._left: set[str] = set()
        """Files of an earlier process for which no further chunk has arrived yet."""
        self._undeleted: set[str] = set()
        """Files that could not be deleted."""
        self._damaged: list[DamagedUpload] = []
        self.take_over()

    def take_over(self) -> None:
        """Look for what earlier processes left; one that stands by looks again when it takes over.

        Raises:
            OSError: if the disk refuses.
        """
        found = {path.name for path in self._folder.iterdir() if _is_name(path.name)}
        self._left = found - self._files.keys() - self._undeleted

    def add(self, sender: str, header: ChunkHeader, body: bytes, now: float) -> SpoolFile | None:
        """Store one chunk; return its message if that is whole now.

        Args:
            sender: the checked sender: others cannot damage this message, nor use its limit.
            header: the chunk's headers.
            body: the chunk's bytes.
            now: seconds of a monotonic clock, for the order of a sender's messages.

        Raises:
            MalformedMessageError: if the chunk does not belong here or is damaged.
            OSError: if the disk is full.
        """
        owner = sha256(sender.encode()).hexdigest()
        name = f"{header.whole.labels.version or 0}.{owner}.{header.whole.digest}"
        if name not in self._files:
            if name not in self._left:
                self._make_room(owner)
            self._files[name] = self._open(self._folder / name, header, now)
            self._left.discard(name)
            self._undeleted.discard(name)
        file = self._files[name]
        file.touched_at = now
        try:
            if file.add(header, body):
                return file
            self._look_for_damage(file, header)
        except MalformedMessageError:
            if file.assembly.complete:  # the digest of the whole is wrong: nothing can be used
                self.remove(file)
            raise
        return None

    def take_damaged(self) -> list[DamagedUpload]:
        """Return what was found damaged since the last time, each once."""
        damaged, self._damaged = self._damaged, []
        return damaged

    def sync(self) -> None:
        """Sync all chunks, so that they can be acknowledged.

        Complete messages are left out: they are folded, and the sum that they went into is
        committed instead, so that waiting for the disk to write them is not needed.
        """
        dirty = [file for file in self._files.values() if file.dirty and not file.assembly.complete]
        for file in dirty:
            file.sync()
        if dirty:
            sync_folder(self._folder)
        for name in list(self._undeleted):
            self._undeleted.remove(name)
            self._delete(name)

    def remove(self, file: SpoolFile) -> None:
        """Forget a message that was committed or refused.

        The file's pages are freed with the last tensor that uses them.
        """
        self._files.pop(file.name, None)
        self._delete(file.name)

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
        self._undeleted.clear()

    def _make_room(self, owner: str) -> None:
        """Remove a sender's oldest incomplete message when it begins one over the limit.

        The limit bounds the disk space that one sender can use.
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
        self._delete(name)

    def _delete(self, name: str) -> None:
        """Delete a file; if that fails, it does no harm and is deleted at a later sync."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            if not may_pass(error):
                raise
            self._undeleted.add(name)

    def _open(self, path: Path, header: ChunkHeader, now: float) -> SpoolFile:
        is_continued = path.name in self._left or header.index > 0
        buffer = FileBuffer(path, header)
        assembly = Assembly(header, self._limits, buffer)
        try:
            assembly.restore(buffer.digests())
        except MalformedMessageError:
            self._left.discard(path.name)
            self._delete(path.name)
            raise
        return SpoolFile(buffer, assembly, now, is_continued)

    def _look_for_damage(self, file: SpoolFile, header: ChunkHeader) -> None:
        """Find missing chunks: they are sent in order, so those missing at the last one are lost.

        They were acknowledged by an earlier process, and their part of the file is damaged or gone.
        """
        if file.is_continued and header.index == header.whole.count - 1:
            received = file.assembly.received
            missing = tuple(each for each in range(header.whole.count) if each not in received)
            self._damaged.append(DamagedUpload(header, missing))
            file.is_continued = False


def _is_name(name: str) -> bool:
    return re.fullmatch(r"\d+\.[0-9a-f]{64}\.[0-9a-f]{64}", name) is not None


def _version(name: str) -> int:
    return int(name.split(".", maxsplit=1)[0])


def _owner(name: str) -> str:
    return name.split(".")[1]
