"""Which coordinator may write a run's folder: the epoch on the disk, and the lock that guards it.

Files: `epoch` holds a decimal number, the epoch of the coordinator that took over last; `lock` is
held with flock(2) by the one that writes, and names its process.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.storage.disk import replacing

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
"""Errors of a file system without locks, where only the epoch is checked."""
LARGEST = 2**53 - 2
"""One less than the largest number that fits into a message."""


class SupersededError(FanfoldError):
    """Raised when another coordinator took over while our connection was lost."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another coordinator took over the run in {folder} while the connection was lost; "
            "start again to stand by"
        )


class FolderLockedError(BlockingIOError):
    """Raised when another process holds the lock; the same can be tried again.

    `holder` names the process that took the folder over last.
    """

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(errno.EWOULDBLOCK, f"{holder} holds the lock", str(path))
        self.holder = holder


class Epoch:
    """The epoch that this coordinator took, and the one on the disk.

    It has a file of its own, so that a damaged checkpoint cannot lower it. Used by the
    coordinator's work thread.
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which exists."""
        self._folder = folder
        self._path = folder / "epoch"
        self.number = 0
        """The epoch that this coordinator took; 0 before it did."""

    def take(self, *, above: int, restored_at: datetime | None = None) -> None:
        """Take the next epoch, durably. To be called with the lock held.

        Args:
            above: the epoch of the newest checkpoint: the file may be of an old backup, or gone.
            restored_at: now, if the folder was restored from a backup. The epoch is the seconds
                since 1970 at least: coordinators that only counted have never come so far, and
                one that was restored before was earlier. A damaged file is overwritten.

        Raises:
            InvalidInputError: if the file holds no number.
            OSError: if the disk refuses.
        """
        if restored_at is None:
            number = max(self._on_disk(above), above) + 1
        else:
            number = max(self._on_disk_or(above), above, int(restored_at.timestamp()) - 1) + 1
        with replacing(self._path) as file:
            file.write(f"{number}\n".encode())
        (self._folder / "lock").write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        self.number = number

    def check(self) -> None:
        """Check that no other coordinator has taken over.

        Raises:
            SupersededError: if another coordinator took an epoch since.
            InvalidInputError: if the file holds no number.
            OSError: if it cannot be read.
        """
        if self._on_disk(self.number) > self.number:
            raise SupersededError(self._folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            FolderLockedError: if another process holds it. That may be a stopped one, so the wait
                is left to the caller, which can report it and be interrupted.
            OSError: if the disk refuses.
        """
        path = self._folder / "lock"
        # Several times in each round, and nothing is written: it needs no file object.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderLockedError(path, path.read_text().strip() or "a process") from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield
        finally:
            os.close(file)

    def _on_disk_or(self, known: int) -> int:
        """Return what the file says, and `known` if it is damaged."""
        try:
            return self._on_disk(known)
        except InvalidInputError:
            return known

    def _on_disk(self, known: int) -> int:
        """Return what the file says; a missing one says 0."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return 0
        text = content.strip()
        if not text.isdigit() or len(text) > len(str(LARGEST)) or int(text) > LARGEST:
            raise InvalidInputError(
                f"{self._path} is damaged: it holds {content[:40]!r} and not the number of an "
                f"epoch ({known} is the highest known here); start again with --restored, which "
                "takes one above all that participants have seen"
            )
        return int(text)
