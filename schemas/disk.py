"""What both sides know about the disk: how it forgets, and what to do while it refuses."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

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
