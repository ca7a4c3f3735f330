"""What both sides know about the disk: how it forgets, and what to do while it is full."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def is_full_disk(error: OSError) -> bool:
    """Whether room on the disk would help."""
    return error.errno in _NO_ROOM


def until_there_is_room(attempt: Callable[[], None], pause: Callable[[OSError], None]) -> None:
    """Repeat `attempt` while the disk is full; `pause` is called before each new attempt.

    Raises:
        OSError: any other than a full disk.
    """
    while True:
        try:
            attempt()
        except OSError as error:
            if not is_full_disk(error):
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
