"""Writes the run into its books: what each round was, and commits, patiently where need be."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import structlog

from fanfold.coordinator.admission.tally import Tally
from fanfold.coordinator.aggregation.contribution import Contribution, told_of
from fanfold.coordinator.aggregation.metric_means import weighted_means
from fanfold.coordinator.aggregation.run_state import IN_ROUND, RunState
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.leadership import Leadership
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.disk_retry import DiskRetry
from fanfold.coordinator.evaluation.evaluator import Evaluated, Evaluator
from fanfold.coordinator.evaluation.run_result import (
    RunResult,
    run_result_of,
    tell_if_unchanged,
    write_models,
)
from fanfold.coordinator.observer import Observer
from fanfold.coordinator.persistence.checkpoint_store import Basis
from fanfold.coordinator.persistence.epoch import SupersededError
from fanfold.coordinator.persistence.history import started
from fanfold.coordinator.persistence.pending_acks import DueAcks
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.policy import OpenRound
from fanfold.coordinator.rounds.presence import Presence
from fanfold.coordinator.rounds.reports import RoundReports, Say, loss_and_accuracy
from fanfold.coordinator.rounds.sampling import Sampling
from fanfold.coordinator.settings import CoordinatorSettings

log = structlog.get_logger()


class Committer:
    """Keeps on disk, and tells people, what the coordinator's round does.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        run: RunState,
        *,
        settings: CoordinatorSettings,
        store: RunStore,
        presence: Presence,
        sampling: Sampling,
        channel: CoordinatorChannel,
        leader: Leadership,
        publisher: Publisher,
        tally: Tally,
        evaluator: Evaluator,
        say: Say,
        observer: Observer,
    ) -> None:
        """Write nothing yet."""
        self._run = run
        self._settings = settings
        self._folder = settings.out
        self._sampling = sampling
        self._store = store
        self._presence = presence
        self._channel = channel
        self._leader = leader
        self._publisher = publisher
        self._tally = tally
        self._evaluator = evaluator
        self._say = say
        self._observer = observer
        self._disk_retry = DiskRetry(settings.out, leader=leader, tally=tally, say=say)
        self._reports = RoundReports(self._tell_round)
        self._num_noted = 0
        """Updates of the open round that the history names already."""

    def take_epoch(self) -> None:
        """Take the next epoch, once there is room on the disk to write it down."""
        self.with_room(self._store.take_epoch)

    def load(self, *, fresh: bool) -> bool:
        """Go on from the checkpoint, if there is one; return whether an evaluation is awaited.

        Raises:
            InvalidInputError: if there are checkpoints, but none that this run can go on from.
        """
        checkpoint = self._store.load(
            fresh=fresh,
            say=self._say,
            accept_lost_history=self._settings.accept_lost_history,
        )
        if self._store.lost:  # what told of them was cut off just now
            self.with_room(self._store.flush)
        if checkpoint is None:
            return False
        document = checkpoint.document
        self._run.restore(document["run"], checkpoint.tensors)
        for update in self._store.lost:
            self._run.privacy_ledger.lost(update["participant"], update["digest"])
        self._store.tell_lost_models(self._run.lost_models, self._run.version + 1, self._say)
        self._num_noted = len(self._run.contributions)
        self._evaluator.restore(document["best_accuracy"])
        self._sampling.restore(document["sample"])
        for participant in document["present"]:
            self._presence.heard(participant, time.monotonic())
        self._say("run_resumed", {"run": self._run.run_id, "version": self._run.version})
        return self._reports.restore(document["reports"], version=self._run.version)

    def record_start(self) -> None:
        """Write down under which settings we go on; durable with the next commit."""
        self._store.history.append(
            started(
                self._settings,
                run=self._run.run_id,
                epoch=self._store.epoch,
                version=self._run.version,
                private=self._settings.privacy is not None,
            )
        )

    def tell_start(self) -> None:
        """Tell people what begins or goes on, and what a stop kept from being told."""
        self._say(
            "run_started",
            {
                "federation": self._settings.federation,
                "run": self._run.run_id,
                "epoch": self._store.epoch,
                "version": self._run.version,
                "rounds": self._settings.rounds,
                "task": self._settings.task,
            },
        )
        self.tell()

    def record(
        self,
        closed: OpenRound,
        contributions: Sequence[Contribution],
        *,
        seconds: float,
        awaits_evaluation: bool,
    ) -> None:
        """Write down what a round was made of; durable with the next commit, and told after it."""
        self._num_noted = 0
        privacy = self._run.privacy
        spent = {} if privacy is None else privacy.spent(self._run.privacy_ledger.counts)
        self._store.history.append(
            {
                "event": "round",
                "run": self._run.run_id,
                "epoch": self._store.epoch,
                "round": closed.number,
                "updates": [asdict(contribution) for contribution in contributions],
                "refused": self._tally.refused,
                **({} if privacy is None else {**spent, "delta": privacy.delta}),
            }
        )
        reported = ((each.num_examples, each.metrics) for each in contributions)
        metrics = {} if self._evaluator.has_data else weighted_means(reported)
        record = {
            "round": closed.number,
            "version": self._run.version,
            "updates": len(contributions),
            "examples": sum(contribution.num_examples for contribution in contributions),
            **loss_and_accuracy(metrics),
            "seconds": round(seconds, 6),
            "bytes_down": self._publisher.bytes_down,
            "bytes_up": self._tally.bytes_up,
            **told_of(contributions),
        }
        if privacy is not None:
            highest = {name: max(each.values(), default=0.0) for name, each in spent.items()}
            record |= {**highest, "delta": privacy.delta}
        self._reports.closed(record, awaits_evaluation=awaits_evaluation)
        if closed.number == 1:
            tell_if_unchanged(self._run, self._say)
        self._store.spool.expire(self._run.is_too_stale)

    def evaluate(self) -> None:
        """Have the current version evaluated; rounds whose place it takes have no accuracy."""
        for version in self._evaluator.submit(self._run.version, self._run.tensors):
            self._reports.evaluated(version, {})
        self.tell()

    def evaluated(self, evaluated: Evaluated) -> None:
        """Take an evaluation's result, keep the best version, and tell the rounds it completes."""
        self.with_room(lambda: self._write(lambda: self._evaluator.take(evaluated)))
        if evaluated.failure is not None:
            fields = {"version": evaluated.version, "reason": evaluated.failure}
            self._say("evaluation_failed", fields)
        self._reports.evaluated(evaluated.version, evaluated.metrics)
        self.tell()

    def tell(self) -> None:
        """Tell people of the rounds that are committed and evaluated."""
        self._reports.tell_ready()

    @property
    def commit_due_at(self) -> float:
        """When what waits for a commit has waited long enough, on the monotonic clock."""
        waiting = self._store.pending_acks
        return waiting.since + self._settings.commit_seconds if waiting else math.inf

    def commit_if_due(self, now: float) -> None:
        """Commit inside a long round: so many updates, so much of the window, or so long."""
        if self._store.pending_acks and (
            self._tally.num_folded >= self._settings.commit_updates
            or self._leader.is_window_half_full
            or now >= self.commit_due_at
        ):
            if self._tally.has_news:
                self.commit()
            else:  # parts of uploads: the spool is all that has to be kept
                self.with_room(lambda: self._acknowledge(self._store.keep_spool()))

    def commit(self) -> None:
        """Make everything durable that was counted, then acknowledge it."""
        self._note_contributions()
        self.with_room(self._commit)

    def last_commit(self) -> None:
        """Commit if these are still our books and there is room; if not, nothing is lost."""
        self._note_contributions()
        try:
            self._commit()
        except SupersededError as error:
            log.warning("stopped without a commit", reason=str(error))
        except OSError as error:
            self._disk_retry.say_why(error)

    def outcome(self, *, is_finished: bool) -> RunResult:
        """Return how the run stands, and write its models if it is finished."""
        if is_finished:
            models = partial(write_models, self._run, self._evaluator, self._folder)
            self.with_room(lambda: self._write(models))
            if self._run.version != 1:  # told already
                tell_if_unchanged(self._run, self._say)
        run, evaluator, reports = self._run, self._evaluator, self._reports
        return run_result_of(run, evaluator, reports, folder=self._folder, is_finished=is_finished)

    def with_room(self, attempt: Callable[[], None]) -> None:
        """Repeat `attempt` while the disk refuses it.

        Raises:
            StoppedError: if somebody wants us to stop meanwhile.
        """
        self._disk_retry.until_done(attempt)

    def _write(self, attempt: Callable[[], None]) -> None:
        with self._store.ours():
            attempt()

    def _note_contributions(self) -> None:
        """Name in the history what is about to be acknowledged while its round is open.

        If the checkpoint is damaged later, this tells what went with it.
        """
        new = self._run.contributions[self._num_noted :]
        if new:
            self._num_noted += len(new)
            updates = [asdict(contribution) for contribution in new]
            self._store.history.append(
                {"event": "commit", "round": self._run.version + 1, "updates": updates}
            )

    def _commit(self) -> None:
        document, tensors = self._run.state()
        state = {
            "run": document,
            "epoch": self._store.epoch,
            "reports": self._reports.state(),
            "best_accuracy": self._evaluator.best_accuracy,
            "present": sorted(self._presence.names),
            "sample": self._sampling.members and sorted(self._sampling.members),
        }
        with self._observer.phase("checkpoint"):
            basis = Basis(self._run.run_id, self._run.version, IN_ROUND)
            due = self._store.commit(state, tensors, basis=basis)
        self._acknowledge(due)
        self._tally.committed()

    def _acknowledge(self, due: DueAcks) -> None:
        if due.up_to is not None:
            self._channel.acknowledge_up_to(due.up_to)
        for delivery in due.singly:
            self._channel.acknowledge(delivery)

    def _tell_round(self, record: dict[str, Any]) -> None:
        self._store.history.append({"event": "round_closed", **record})
        self.with_room(self._store.flush)
        self._say("round_closed", record)
