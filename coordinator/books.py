"""What makes a run survive its coordinator: commit first, acknowledge then, publish after.

A commit makes the spool durable, then the history, then the checkpoint; only then are deliveries
acknowledged.
"""

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from coordinator.checkpoint import Checkpoint, CheckpointFolder
from coordinator.history import COUNTING, History, lost_updates
from coordinator.reports import Say
from coordinator.spool import Spool, SpoolFile
from coordinator.unacknowledged import Due, Unacknowledged
from schemas.disk import sync_folder
from schemas.errors import InvalidInputError, WarrenError
from schemas.limits import Limits

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
"""A file system without locks: then the epoch alone has to do."""


class SupersededError(WarrenError):
    """Raised when another coordinator took over while our connection was lost."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another coordinator took over the run in {folder} while the connection was lost; "
            "start again to stand by"
        )


class Books:
    """The checkpoint, the history and the spool of one run, and which deliveries wait for a commit.

    Belongs to the coordinator's work thread.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Use `folder`, creating it if need be.

        Raises:
            InvalidInputError: if it cannot be written to.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.spool = Spool(folder / "spool", limits)
            for name in ("history.jsonl", "lock"):
                (folder / name).touch()
        except OSError as error:
            raise InvalidInputError(
                f"--out {folder} cannot be written to ({error.strerror}); choose another folder"
            ) from None
        self.checkpoint = CheckpointFolder(folder)
        self.epoch = 0
        """The one that this coordinator took; 0 before it did."""
        self._history: History | None = None
        self.unacknowledged = Unacknowledged()
        self._folded: list[SpoolFile] = []
        self.lost: list[dict[str, Any]] = []
        """Updates that a checkpoint counted which is damaged now."""

    @property
    def is_open(self) -> bool:
        """Whether they were loaded, so that they can be written to."""
        return self._history is not None

    @property
    def history(self) -> History:
        """The history, once it was opened."""
        if self._history is None:
            raise RuntimeError("the history was not opened")
        return self._history

    def load(self, *, fresh: bool, say: Say) -> Checkpoint | None:
        """Open the history, and return the checkpoint to go on from, if there is one.

        Args:
            fresh: begin anew: what an earlier run left is removed, which is said.
            say: is told what was removed or lost.

        Raises:
            InvalidInputError: if there are checkpoints, but none that can be read; or a history
                of counted updates without one.
        """
        path = self.folder / "history.jsonl"
        if fresh:
            self._remove(path, say)
        checkpoint = self.checkpoint.read()
        if checkpoint is None and any(lost_updates(path, 0)):
            raise InvalidInputError(
                f"{path} tells of a run, but its checkpoint is gone; restore it, choose another "
                "--out, or remove what is left with --fresh"
            )
        length, tail = 0, ""
        if checkpoint is not None:
            length = checkpoint.document["history_bytes"]
            tail = checkpoint.document["history_tail"]
        known = length + len(tail.encode())
        if checkpoint is not None:
            # An earlier start that was killed before its first commit may have found some, too.
            events = COUNTING if checkpoint.is_previous else {"updates_lost"}
            self.lost = list(lost_updates(path, known, events=events))
        self._history = History(path, length=length, tail=tail)
        if checkpoint is None:
            self.spool.clear()
        if self.lost:
            self._history.append({"event": "updates_lost", "updates": self.lost})
            fields = {"updates_lost": len(self.lost), "folder": str(self.folder)}
            say("checkpoint_damaged", fields)
        return checkpoint

    def _remove(self, history: Path, say: Say) -> None:
        """Remove what an earlier run left, and say so; its epoch stays, lest it come again."""
        results = [self.folder / name for name in ("model.safetensors", "best.safetensors")]
        left = [*self.checkpoint.paths, *(path for path in results if path.exists())]
        if history.stat().st_size:
            left.append(history)
        if left:
            names = sorted(path.name for path in left)
            say("run_removed", {"folder": str(self.folder), "files": names})
        for path in left:
            path.unlink()
        history.touch()

    def take_epoch(self) -> None:
        """Take the next epoch, durably, once nobody else is in the middle of writing.

        It stands in a file of its own, so that a damaged checkpoint cannot lower it. From now on
        nobody but us writes these books: so they are read after it, not before.
        """
        with self._locked():
            self.epoch = self._epoch_on_disk() + 1
            path = self.folder / "epoch"
            incoming = path.with_name("epoch.incoming")
            with incoming.open("w") as file:
                file.write(f"{self.epoch}\n")
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(path)
            sync_folder(self.folder)

    def check_epoch(self) -> None:
        """Make sure that these are still our books.

        Raises:
            SupersededError: if another coordinator took an epoch since.
        """
        if self._epoch_on_disk() > self.epoch:
            raise SupersededError(self.folder)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Write while these are our books: whoever wants to take them over waits for the end.

        Raises:
            SupersededError: if another coordinator took an epoch since.
        """
        with self._locked():
            self.check_epoch()
            yield

    def folded(self, file: SpoolFile) -> None:
        """Take note of a spool file that goes once the sum it went into is committed."""
        self._folded.append(file)

    def commit(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Due:
        """Make everything durable, and return what may be acknowledged now.

        Raises:
            OSError: if the disk refuses; nothing is to be acknowledged, and the same commit can be
                tried again.
            SupersededError: if these are another coordinator's books by now.
        """
        with self.ours():
            self.spool.sync()
            self.checkpoint.write({**document, **self.history.commit()}, tensors)
            for file in self._folded:
                self.spool.remove(file)
        self._folded.clear()
        return self.unacknowledged.committed()

    def keep_spool(self) -> Due:
        """Make parts of uploads durable, where nothing else was counted.

        Return what may be acknowledged now.

        Raises:
            OSError: if the disk refuses.
            SupersededError: if these are another coordinator's books by now.
        """
        with self.ours():
            self.spool.sync()
        return self.unacknowledged.committed()

    def flush(self) -> None:
        """Show all lines of the history to its readers.

        Raises:
            OSError: if the disk refuses.
            SupersededError: if these are another coordinator's books by now.
        """
        with self.ours():
            self.history.flush()

    def close(self) -> None:
        """Close the history."""
        if self._history is not None:
            self._history.close()

    def _epoch_on_disk(self) -> int:
        path = self.folder / "epoch"
        return int(path.read_text()) if path.exists() else 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield
