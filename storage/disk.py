"""Durable writes, and which errors of the disk are worth waiting for."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_MAY_PASS = _NO_ROOM | {
    errno.EROFS,  # made read-only, as a file system does by itself after an error
    errno.EIO,
    errno.ESTALE,  # a network file system whose server was away
    errno.ETIMEDOUT,
    errno.EACCES,  # rights that expired or were changed: they were there at the start
    errno.EPERM,
    errno.EAGAIN,  # another process holds a lock
}


def is_full_disk(error: OSError) -> bool:
    """Return whether the disk, or the quota on it, is full."""
    return error.errno in _NO_ROOM


def may_pass(error: OSError) -> bool:
    """Return whether the same may succeed later: when there is free space, or the disk works."""
    return error.errno in _MAY_PASS


def until_there_is_room(attempt: Callable[[], None], pause: Callable[[OSError], None]) -> None:
    """Call `attempt` again and again until the disk takes it; `pause` is called in between.

    Somebody can free a disk that is full, and repair one that is read-only or unreachable.

    Raises:
        OSError: if waiting will not help (see `may_pass`).
    """
    while True:
        try:
            attempt()
        except OSError as error:
            if not may_pass(error):
                raise
            pause(error)
        else:
            return


def sync_folder(folder: Path) -> None:
    """Sync a folder, which makes files created or renamed in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path`, synced, when the block ends without an exception.

    A reader sees the old content or the new, never a part of it, even after a crash.

    Raises:
        OSError: if the disk refuses; the old file is still there.
    """
    incoming = path.with_name(f"{path.name}.incoming")
    incoming.unlink(
        missing_ok=True
    )  # not truncated: a reader may have mapped one that a crash left
    with incoming.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    incoming.replace(path)
    sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a new file, whose mode is set before the content is written.

    Raises:
        FileExistsError: if there is a file already.
        OSError: if the disk refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
