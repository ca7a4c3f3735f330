"""The folder of a participant's state: one process at a time, and only while it holds the id.

An old pod may still train when the new one starts. If the new one read the state too early, the
last update of the old one would be lost; if both used it, what top-k left out would be sent twice.
"""

import fcntl
import os
from pathlib import Path

from fanfold.participant import sent_chunks, state_files
from fanfold.participant.training_state import TrainingState, forget_run
from fanfold.schemas.reader_limits import ReaderLimits

LOCK = "lock"


class StateFolder:
    """Holds the lock of a state folder and reads its state. Used by the work thread.

    Args:
        folder: is made if need be, and not read yet; None keeps the state in memory.
        limits: of a stored update.

    Raises:
        InvalidInputError: if the folder cannot be used.
    """

    def __init__(self, folder: Path | None, limits: ReaderLimits) -> None:
        self.folder = folder
        self._limits = limits
        self._lock: int | None = None
        self._training_state = TrainingState(None, limits) if folder is None else None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / "probe.incoming"  # the folder has to be writable as well
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise state_files.unusable(folder, error) from None

    def take(self) -> TrainingState | None:
        """Return the state, after reading it if need be; None while another process has the lock.

        Call it only while this process holds the participant's id.

        Raises:
            InvalidInputError: if the folder cannot be used, or its files are damaged.
        """
        if self._training_state is None and self.folder is not None:
            try:
                if self._lock is None:
                    self._lock = _locked(self.folder / LOCK)
                if self._lock is not None:
                    self._training_state = TrainingState(self.folder, self._limits)
            except OSError as error:
                raise state_files.unusable(self.folder, error) from None
        return self._training_state

    def let_go(self) -> None:
        """Release the lock for the process that holds the id now; `take` reads the state again."""
        if self.folder is not None:
            self._training_state = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def tidy(folder: Path) -> None:
    """Remove what an ended run has left, but for what outlives it; the folder too if it is empty.

    Raises:
        InvalidInputError: if its files are damaged.
        OSError: if the disk refuses.
    """
    forget_run(folder)
    for name in (LOCK, sent_chunks.FILE):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _locked(path: Path) -> int | None:
    """Lock a file and return its descriptor; None while another process has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
