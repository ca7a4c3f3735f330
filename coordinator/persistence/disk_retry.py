"""Waits, with a message, while the coordinator's folder cannot be written."""

from collections.abc import Callable
from pathlib import Path

from fanfold.coordinator.persistence.epoch import FolderLockedError
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.run_folder import FolderLocked
from fanfold.schemas.events.shared import DiskFull, DiskRefuses
from fanfold.storage.disk import is_full_disk, may_pass, until_there_is_room
from fanfold.transport import EventReader

DISK_PAUSE_SECONDS = 5.0
LOCK_PAUSE_SECONDS = 0.2
SHORT_LOCK_SECONDS = 1.0
"""A successor holds the lock only for a moment, so a shorter wait is not reported."""


class DiskRetry:
    """Repeats what the disk refuses until it succeeds.

    Used by the coordinator's work thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        state: FederationState,
        reader: EventReader,
        say: Say,
    ) -> None:
        """Wait with `reader`; what waits in queues meanwhile is in time."""
        self._folder = folder
        self._state = state
        self._reader = reader
        self._say = say

    def until_done(self, attempt: Callable[[], None]) -> None:
        """Repeat `attempt` while the disk refuses it, or another process holds the folder's lock.

        Raises:
            StoppedError: if somebody wants us to stop meanwhile.
            OSError: one that does not pass.
        """
        began = self._reader.now
        until_there_is_room(attempt, lambda error: self.wait(error, since=began))

    def wait(self, error: OSError, *, since: float) -> None:
        """Wait before the same is tried again; `since` is when that began, on the reader's clock.

        Raises:
            StoppedError: if somebody wants us to stop meanwhile.
            OSError: this one, if it does not pass.
        """
        if not may_pass(error):
            raise error
        began = self._reader.now
        if isinstance(error, FolderLockedError) and began < since + SHORT_LOCK_SECONDS:
            self._reader.pause(LOCK_PAUSE_SECONDS)
        else:
            self.say_why(error)
            self._reader.pause(DISK_PAUSE_SECONDS)
        now = self._reader.now
        self._state.could_not_read(now - began, now)

    def say_why(self, error: OSError) -> None:
        """Tell people who or what refuses."""
        if isinstance(error, FolderLockedError):
            self._say(FolderLocked(str(self._folder), holder=error.holder))
        else:
            kind = DiskFull if is_full_disk(error) else DiskRefuses
            self._say(kind(str(self._folder), reason=error.strerror))
