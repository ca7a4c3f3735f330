"""The files of a run, with which it survives its coordinator: commit, acknowledge, publish.

A commit syncs the spool, then the history, then the checkpoint; only then are deliveries
acknowledged.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from torch import Tensor

from fanfold.coordinator.persistence.checkpoint_store import Basis, Checkpoint, CheckpointStore
from fanfold.coordinator.persistence.epoch import Epoch
from fanfold.coordinator.persistence.history import (
    COUNTING,
    HISTORY,
    History,
    committed_in,
    damage_of,
    lost_updates,
)
from fanfold.coordinator.persistence.history_chain import Committed, DamagedHistoryError
from fanfold.coordinator.persistence.kept_tensors import KeptTensors
from fanfold.coordinator.persistence.model_names import BEST, MODEL, VERSIONS
from fanfold.coordinator.persistence.pending_acks import DueAcks, PendingAcks
from fanfold.coordinator.persistence.spool import Spool, SpoolFile
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.run_folder import CheckpointDamaged, HistoryLost, ModelsLost, RunRemoved
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.timestamps import Clock

log = structlog.get_logger()


class RunStore:
    """The checkpoint, the history and the spool of one run, and which deliveries wait for a commit.

    Used by the coordinator's work thread.
    """

    def __init__(
        self, folder: Path, limits: ReaderLimits, *, wall_clock: Clock | None = None
    ) -> None:
        """Use `folder`, creating it if need be.

        Raises:
            InvalidInputError: if it cannot be written to.
        """
        self.folder = folder
        self._wall_clock = wall_clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.spool = Spool(folder / "spool", limits)
            self.kept = KeptTensors(folder / "kept")
            for name in (HISTORY, "lock"):
                (folder / name).touch()
        except OSError as error:
            raise InvalidInputError(
                f"--out {folder} cannot be written to ({error.strerror}); choose another folder"
            ) from None
        self.checkpoint = CheckpointStore(folder)
        self._epoch = Epoch(folder)
        self._history: History | None = None
        self.pending_acks = PendingAcks()
        self._folded: list[SpoolFile] = []
        self.lost: list[dict[str, Any]] = []
        """Updates that were counted by a checkpoint that is damaged now."""

    @property
    def is_open(self) -> bool:
        """Whether the files were loaded, so that they can be written."""
        return self._history is not None

    @property
    def history(self) -> History:
        """The history, once it was opened."""
        if self._history is None:
            raise RuntimeError("the history was not opened")
        return self._history

    def load(
        self, *, fresh: bool, say: Say, accept_lost_history: bool = False
    ) -> Checkpoint | None:
        """Open the history, and return the checkpoint to resume from, if there is one.

        Args:
            fresh: start a new run: the files of an earlier one are removed, which is reported.
            say: called with events about what was removed or lost.
            accept_lost_history: resume with what is left of a history that is damaged.

        Raises:
            InvalidInputError: if there are checkpoints, but none that can be read; or a history
                of counted updates without one; or a history that is damaged; or a disk that fails.
        """
        try:
            return self._load(fresh=fresh, say=say, accept_lost_history=accept_lost_history)
        except OSError as error:
            raise InvalidInputError(
                f"--out {self.folder} cannot be read or written ({error.strerror}); mend that and "
                "start again"
            ) from None

    def _load(self, *, fresh: bool, say: Say, accept_lost_history: bool) -> Checkpoint | None:
        path = self.folder / HISTORY
        if fresh:
            self._remove(path, say)
        checkpoint = self.checkpoint.read()
        if checkpoint is None and any(lost_updates(path, 0)):
            raise InvalidInputError(
                f"{path} tells of a run, but its checkpoint is gone; restore it, choose another "
                "--out, or remove what is left with --fresh"
            )
        committed = Committed() if checkpoint is None else committed_in(checkpoint.document)
        known = committed.num_bytes + len(committed.tail.encode())
        if checkpoint is not None:
            # An earlier start that was killed before its first commit may have found some, too.
            events = COUNTING if checkpoint.is_previous else {"updates_lost"}
            self.lost = list(lost_updates(path, known, events=events))
        damage = damage_of(path, committed)
        if damage is not None and not accept_lost_history:
            raise InvalidInputError(
                f"{damage}; restore it from a backup, or go on with what is left of it with "
                "--accept-lost-history: the run can then not be replayed"
            )
        self._history = (
            self._opened(path, committed) if damage is None else self._accept(damage, say)
        )
        if checkpoint is None:
            self.spool.clear()
            self.kept.keep_only(())
        self.spool.take_over()
        if self.lost:
            self._history.append({"event": "updates_lost", "updates": self.lost})
            say(CheckpointDamaged(updates_lost=len(self.lost), folder=str(self.folder)))
        return checkpoint

    def tell_lost_models(self, participants: list[str], number: int, say: Say) -> None:
        """Write down and say whose latest models, if any, do not count from this round on."""
        if not participants:
            return
        lost = {"participants": participants, "round": number}
        self.history.append({"event": "models_lost", **lost})
        say(ModelsLost(tuple(participants), number, folder=str(self.kept.folder)))

    def _opened(self, path: Path, committed: Committed) -> History:
        return History(path, committed, wall_clock=self._wall_clock)

    def _accept(self, damage: DamagedHistoryError, say: Say) -> History:
        """Keep a copy of a damaged history, and go on with the intact part of it."""
        path = self.folder / HISTORY
        aside = path.with_name(f"history.damaged.{self.epoch}.jsonl")
        shutil.copyfile(path, aside)
        history = self._opened(path, damage.intact)
        history.append({"event": "history_lost", "epoch": self.epoch, "lines": damage.num_lines})
        say(
            HistoryLost(
                folder=str(self.folder),
                lines_left=damage.num_lines,
                damaged=str(aside),
                reason=str(damage),
            )
        )
        return history

    def _remove(self, history: Path, say: Say) -> None:
        """Remove the files of an earlier run, and report it; the epoch stays, so that it grows."""
        results = [self.folder / name for name in (MODEL, BEST)]
        left = [*self.checkpoint.paths, *(path for path in results if path.exists())]
        if history.stat().st_size:
            left.append(history)
        if left:
            say(RunRemoved(str(self.folder), files=tuple(sorted(path.name for path in left))))
        for path in left:
            path.unlink()
        shutil.rmtree(self.folder / VERSIONS, ignore_errors=True)
        history.touch()

    @property
    def epoch(self) -> int:
        """The one that this coordinator took; 0 before it did."""
        return self._epoch.number

    def take_epoch(self, *, restored: bool = False) -> None:
        """Take the next epoch and sync it, while no other process writes.

        From now on no other coordinator writes these files, so they are read after it. With
        `restored` it is above all that participants have seen.

        Raises:
            InvalidInputError: if the epoch's file holds no number.
            FolderLockedError: if another process writes just now.
            OSError: if the disk refuses; it can be tried again.
        """
        if restored and self._wall_clock is None:
            raise ValueError("a restored run takes its epoch from a clock, and none was given")
        now = self._wall_clock() if restored and self._wall_clock else None
        with self._epoch.locked():
            self._epoch.take(above=self.checkpoint.epoch(), restored_at=now)

    def check_epoch(self) -> None:
        """Check that no other coordinator has taken over; every write checks it again.

        Raises:
            SupersededError: if another coordinator took an epoch since.
            InvalidInputError: if the epoch's file holds no number.
        """
        try:
            self._epoch.check()
        except OSError as error:
            log.warning("the epoch cannot be read", reason=error.strerror)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Hold the lock during a write, after a check that no other coordinator has taken over.

        Raises:
            SupersededError: if another coordinator took an epoch since.
            FolderLockedError: if another process writes just now.
        """
        with self._epoch.locked():
            self._epoch.check()
            yield

    def folded(self, file: SpoolFile) -> None:
        """Note a spool file that is removed once the sum it went into is committed."""
        self._folded.append(file)

    def commit(
        self,
        document: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        basis: Basis | None = None,
    ) -> DueAcks:
        """Sync everything, and return what may be acknowledged now.

        If the last commit had the same `basis`, only what may have changed since is written.

        Raises:
            OSError: if the disk refuses; nothing is to be acknowledged, and the same commit can be
                tried again.
            SupersededError: if another coordinator has taken this run over by now.
        """
        with self.ours():
            self.spool.sync()
            self.kept.sync()
            self.checkpoint.write({**document, **self.history.commit()}, tensors, basis=basis)
            for file in self._folded:
                self.spool.remove(file)
            self.kept.committed(0 if basis is None else basis.version)
        self._folded.clear()
        return self.pending_acks.committed()

    def keep_spool(self) -> DueAcks:
        """Sync parts of uploads, if nothing else was counted.

        Return what may be acknowledged now.

        Raises:
            OSError: if the disk refuses.
            SupersededError: if another coordinator has taken this run over by now.
        """
        with self.ours():
            self.spool.sync()
        return self.pending_acks.committed()

    def flush(self) -> None:
        """Write all lines of the history to the file, where readers see them.

        Raises:
            OSError: if the disk refuses.
            SupersededError: if another coordinator has taken this run over by now.
        """
        with self.ours():
            self.history.flush()

    def close(self) -> None:
        """Close the history."""
        if self._history is not None:
            self._history.close()
