"""Makes durable what was counted: commit first, acknowledge after it, publish last."""

import math
from collections.abc import Callable

import structlog

from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.aggregation.run_state import IN_ROUND
from fanfold.coordinator.aggregation.state_parts import joined, split
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.checkpoint_store import Basis
from fanfold.coordinator.persistence.disk_retry import DiskRetry
from fanfold.coordinator.persistence.epoch import SupersededError
from fanfold.coordinator.persistence.pending_acks import DueAcks
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.reporter import Reporter
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.events.coordinator import RunRestored, RunResumed

MOST_PART_BYTES = 512 << 20
"""Of parts of uploads that wait for an acknowledgement: four of 100 MB are folded before that."""

log = structlog.get_logger()


class Committer:
    """Commits and acknowledges, patiently where the disk is full.

    Belongs to the coordinator's work thread. `now` is of a monotonic clock.
    """

    def __init__(
        self,
        state: FederationState,
        *,
        settings: CoordinatorSettings,
        store: RunStore,
        channel: CoordinatorChannel,
        tally: Tally,
        reporter: Reporter,
        disk_retry: DiskRetry,
        observer: Observer,
    ) -> None:
        """Write nothing yet."""
        self._state = state
        self._settings = settings
        self._store = store
        self._channel = channel
        self._tally = tally
        self._reporter = reporter
        self._disk_retry = disk_retry
        self._observer = observer
        self._num_noted = 0
        """Updates of the open round that the history names already."""

    @property
    def epoch(self) -> int:
        """The one that this coordinator took; 0 before it did."""
        return self._store.epoch

    def take_epoch(self) -> None:
        """Take the next epoch, once there is room on the disk to write it down."""
        restored = self._settings.restored
        self.with_room(lambda: self._store.take_epoch(restored=restored))

    def load(self, *, fresh: bool, now: float) -> None:
        """Go on from the checkpoint, if there is one.

        Raises:
            InvalidInputError: if there are checkpoints, but none that this run can go on from.
        """
        say, run = self._reporter.say, self._state.run
        checkpoint = self._store.load(
            fresh=fresh, say=say, accept_lost_history=self._settings.accept_lost_history
        )
        if self._store.lost:  # what told of them was cut off just now
            self.with_room(self._store.flush)
        if checkpoint is None:
            return
        document = checkpoint.document
        run.restore(document["run"], checkpoint.tensors)
        if self._state.published is not None:
            held = split(checkpoint.tensors)["published"]
            self._state.published.restore(document.get("published"), held, run)
        for update in self._store.lost:
            run.privacy_ledger.lost(update["participant"], update["digest"])
        self._store.tell_lost_models(run.lost_models, run.version + 1, say)
        self._num_noted = len(run.contributions)
        self._state.sampling.restore(document["sample"])
        self._state.presence.serials.update(document.get("serials", {}))
        for participant in document["present"]:
            self._state.presence.heard(participant, now)
        if self._settings.restored:
            is_private = run.privacy is not None
            say(RunRestored(run.run_id, run.version, self._store.epoch, is_private=is_private))
        else:
            say(RunResumed(run=run.run_id, version=run.version))
        self._reporter.restore(document)

    @property
    def longest_wait_seconds(self) -> float:
        """How long a delivery may stay unacknowledged."""
        return self._settings.commit_seconds

    @property
    def due_at(self) -> float:
        """When what waits for a commit has waited long enough."""
        waiting = self._store.pending_acks
        return waiting.since + self._settings.commit_seconds if waiting else math.inf

    def commit_if_due(self, now: float) -> None:
        """Commit inside a long round: so many updates, so much of the window, or so long.

        Where nothing but parts of uploads waits, so many bytes are enough: to sync them costs no
        more than their one way to the disk, and the broker need not hold them any longer.
        """
        waiting = self._store.pending_acks
        num_waiting = len(waiting)
        if num_waiting and (
            self._tally.num_folded >= self._settings.commit_updates
            or num_waiting >= self._channel.window // 2  # unfinished uploads could soon fill it
            or now >= self.due_at
            or (waiting.num_bytes >= MOST_PART_BYTES and not self._tally.has_news)
        ):
            if self._tally.has_news:
                self.commit()
            else:  # parts of uploads: the spool is all that has to be kept
                self.with_room(self._keep_spool)

    def commit(self) -> None:
        """Make everything durable that was counted, then acknowledge it."""
        self._note_contributions()
        self.with_room(self._commit)

    def last_commit(self) -> None:
        """Commit if the folder is still ours and there is room; if not, nothing is lost."""
        if not self._store.is_open:
            return
        self._note_contributions()
        try:
            self._commit()
        except SupersededError as error:
            log.warning("stopped without a commit", reason=str(error))
        except OSError as error:
            self._disk_retry.say_why(error)

    def round_closed(self) -> None:
        """Take note that no update of the next round is known yet, and drop uploads too stale."""
        self._num_noted = 0
        self._store.spool.expire(self._state.run.is_too_stale)

    def with_room(self, attempt: Callable[[], None]) -> None:
        """Repeat `attempt` while the disk refuses it.

        Raises:
            StoppedError: if somebody wants us to stop meanwhile.
        """
        self._disk_retry.until_done(attempt)

    def wait_for_room(self, error: OSError, *, since: float) -> None:
        """Wait before something is tried again that the disk refused; see `DiskRetry.wait`."""
        self._disk_retry.wait(error, since=since)

    def close(self) -> None:
        """Close the history."""
        self._store.close()

    def _note_contributions(self) -> None:
        """Name in the history what is about to be acknowledged while its round is open.

        If the checkpoint is damaged later, this tells what went with it.
        """
        run = self._state.run
        new = run.contributions[self._num_noted :]
        if new:
            self._num_noted += len(new)
            updates = [contribution.document() for contribution in new]
            self._store.history.append(
                {"event": "commit", "round": run.version + 1, "updates": updates}
            )

    def _commit(self) -> None:
        run, sample = self._state.run, self._state.sampling.members
        document, tensors = run.state()
        published = self._state.published
        held = {} if published is None else joined({"published": published.tensors})
        state = {
            "run": document,
            "epoch": self._store.epoch,
            **self._reporter.checkpoint(),
            "present": sorted(self._state.presence.names),
            "serials": self._state.presence.serials,
            "sample": sample and sorted(sample),
            "published": published and published.version,
        }
        with self._observer.phase("checkpoint"):
            basis = Basis(run.run_id, run.version, IN_ROUND)
            due = self._store.commit(state, {**tensors, **held}, basis=basis)
        self._acknowledge(due)
        self._tally.committed()
        self._reporter.committed()

    def _keep_spool(self) -> None:
        self._acknowledge(self._store.keep_spool())

    def _acknowledge(self, due: DueAcks) -> None:
        if due.up_to is not None:
            self._channel.acknowledge_up_to(due.up_to)
        for delivery in due.singly:
            self._channel.acknowledge(delivery)
