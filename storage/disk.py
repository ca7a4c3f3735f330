"""What both sides know about the disk: how it forgets, and what to do while it refuses."""

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
    """Whether room on the disk would help."""
    return error.errno in _NO_ROOM


def may_pass(error: OSError) -> bool:
    """Whether the same may succeed later: somebody makes room, or mends the disk."""
    return error.errno in _MAY_PASS


def until_there_is_room(attempt: Callable[[], None], pause: Callable[[OSError], None]) -> None:
    """Repeat `attempt` while the disk refuses it; `pause` is called before each new attempt.

    A disk that is full, read-only or out of reach is one that a person can mend.

    Raises:
        OSError: one that does not pass.
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
    """Make new names and renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file anew, as a whole: afterwards the new one is on the disk, before it the old one.

    Raises:
        OSError: if the disk refuses; the old file is still there.
    """
    incoming = path.with_name(f"{path.name}.incoming")
    incoming.unlink(missing_ok=True)  # what a crash left may be mapped by a reader
    with incoming.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    incoming.replace(path)
    sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file that is not there yet; its mode is there before its content is.

    Raises:
        FileExistsError: if it is there.
        OSError: if the disk refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
