"""Writes down what each round was, has versions evaluated, and tells people of both."""

from collections.abc import Mapping, Sequence
from typing import Any

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.evaluation.evaluator import Evaluated, Evaluator
from fanfold.coordinator.evaluation.run_result import (
    RunResult,
    run_result_of,
    tell_if_unchanged,
    write_models,
)
from fanfold.coordinator.persistence.disk_retry import DiskRetry
from fanfold.coordinator.persistence.history import started
from fanfold.coordinator.persistence.kept_versions import KeptVersions
from fanfold.coordinator.persistence.model_names import DIGEST
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.rounds.left_out import LeftOut
from fanfold.coordinator.rounds.reports import (
    RoundReports,
    Traffic,
    history_of,
    privacy_of,
    report_of,
)
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.events.coordinator import EndsEarly, RunStarted
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.shared import EvaluationFailed
from fanfold.schemas.tensor_codec import parameters_sha256


class Reporter:
    """Tells of a round once it is committed and evaluated. Belongs to the work thread."""

    def __init__(
        self,
        state: FederationState,
        *,
        settings: CoordinatorSettings,
        store: RunStore,
        evaluator: Evaluator,
        disk_retry: DiskRetry,
        kept_versions: KeptVersions,
        say: Say,
        task_sha256: str | None = None,
    ) -> None:
        """Write and tell nothing yet."""
        self._state = state
        self._settings = settings
        self._store = store
        self._evaluator = evaluator
        self._disk_retry = disk_retry
        self._kept_versions = kept_versions
        self.say = say
        self._task_sha256 = task_sha256
        self._reports = RoundReports()
        self._left_out = LeftOut()
        self._evaluation_is_due = False
        self._early_end: str | None = None
        """Why the run ends before its last round, once told: no later evaluation changes it."""
        self._spent: str | None = None
        """Why privacy allows no further round; told when a round begins, and not within one."""

    def checkpoint(self) -> dict[str, Any]:
        """Return what belongs into the checkpoint."""
        return {
            "reports": self._reports.state(),
            "left_out": self._left_out.state(),
            "watch": self._evaluator.watch.state(),
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take back what `checkpoint` returned."""
        if "left_out" in document:  # a checkpoint of an older release has none
            self._left_out.restore(document["left_out"])
        if "watch" in document:  # likewise
            self._evaluator.watch.restore(document["watch"])
        version = self._state.run.version
        self._evaluation_is_due = self._reports.restore(document["reports"], version=version)
        self._disk_retry.until_done(lambda: self._kept_versions.load(version))

    def record_start(self) -> None:
        """Write down under which settings we go on; durable with the next commit."""
        run = self._state.run
        self._store.history.append(
            started(
                self._settings,
                run=run.run_id,
                epoch=self._store.epoch,
                version=run.version,
                private=run.privacy is not None,
            )
        )
        self._look_at_privacy()

    def _look_at_privacy(self) -> None:
        run = self._state.run
        if run.privacy is not None:
            self._spent = run.privacy.exhausted(run.privacy_ledger.counts)

    def tell_start(self) -> None:
        """Tell people what begins or goes on, and what a stop kept from being told."""
        run = self._state.run
        self.say(
            RunStarted(
                federation=self._settings.federation,
                run=run.run_id,
                epoch=self._store.epoch,
                version=run.version,
                rounds=self._settings.rounds,
                task=self._settings.task,
                task_sha256=self._task_sha256,
            )
        )
        self.tell()

    def record_lost_set(self, number: int, reason: str) -> None:
        """Write down that the masked updates of a round, which `commit` names, do not count."""
        self._store.history.append({"event": "set_lost", "round": number, "reason": reason})

    def record(
        self,
        closed: OpenRound,
        contributions: Sequence[Contribution],
        traffic: Traffic,
        *,
        seconds: float,
    ) -> None:
        """Write down what a round was made of; durable with the next commit, and told after it."""
        run, settings = self._state.run, self._settings
        self._evaluation_is_due = self._evaluator.has_data and (
            closed.number % settings.evaluate_every == 0 or closed.number >= settings.rounds
        )
        privacy = privacy_of(run)
        self._look_at_privacy()
        self._store.history.append(
            history_of(
                closed.number,
                contributions,
                run,
                refused=traffic.refused,
                privacy=privacy,
                epoch=self._store.epoch,
            )
        )
        self._left_out.count(closed.refused)
        report = report_of(
            closed.number,
            contributions,
            run,
            traffic,
            privacy=privacy,
            seconds=seconds,
            with_reported_metrics=not self._evaluator.has_data,
            left_out=dict(closed.refused),
        )
        self._reports.closed(report, awaits_evaluation=self._evaluation_is_due)
        if closed.number == 1:
            tell_if_unchanged(run, self.say)

    def keep_version(self) -> None:
        """Keep the current version's model where that is wanted; readers find it once committed."""
        if self._kept_versions.wants(self._state.run.version):
            self._disk_retry.until_done(self._keep_version)

    def evaluate_if_due(self) -> None:
        """Have the current version evaluated where its round asks for it."""
        if self._evaluation_is_due:
            self.evaluate()

    def evaluate(self) -> None:
        """Have the current version evaluated; rounds whose place it takes have no accuracy."""
        run = self._state.run
        for version in self._evaluator.submit(run.version, run.tensors):
            self._reports.evaluated(version, {})
        self.tell()

    def evaluated(self, evaluated: Evaluated) -> None:
        """Take an evaluation's result, keep the best version, and tell the rounds it completes.

        Raises:
            OSError: if the disk refuses; the same result can be taken again.
        """
        with self._store.ours():
            self._evaluator.take(evaluated)
        if evaluated.failure is not None:
            self.say(EvaluationFailed(evaluated.version, evaluated.failure))
        self._reports.evaluated(evaluated.version, evaluated.metrics)
        self.tell()

    @property
    def is_evaluating(self) -> bool:
        """Whether a result is still to come."""
        return self._evaluator.is_busy

    @property
    def reason_to_end(self) -> str | None:
        """Why the run should end before its last round, in words; None if it should go on."""
        return self._evaluator.watch.reason_to_end or self._spent

    def tell_early_end(self) -> None:
        """Tell the last round, and write down and say why it is the last one if it is so early."""
        self.tell()
        if self._state.run.version < self._settings.rounds:
            self._early_end = self.reason_to_end
        if self._early_end is not None:
            event = EndsEarly(version=self._state.run.version, reason=self._early_end)
            self._store.history.append(event.document())
            self.say(event)

    def committed(self) -> None:
        """Take note that the rounds so far are committed: they may be told.

        Raises:
            OSError: if the disk refuses; it can be tried again.
        """
        self._kept_versions.committed(self._state.run.version)
        self._reports.committed()

    def tell(self) -> None:
        """Tell people of the rounds that are committed and evaluated, and write it down first."""
        ready = self._reports.take_ready()
        for closed in ready:
            self._store.history.append(closed.document(whole=True))
        if ready:
            self._disk_retry.until_done(self._store.flush)
        for closed in ready:
            self.say(closed)

    def result(self, *, is_finished: bool) -> RunResult:
        """Return how the run stands, and write its models if it is finished."""
        run, folder = self._state.run, self._settings.out
        result = run_result_of(
            run,
            self._evaluator,
            self._reports,
            folder=folder,
            is_finished=is_finished,
            left_out=self._left_out,
            reason=self._early_end,
        )
        if is_finished:
            self._disk_retry.until_done(lambda: self._write_models(result))
            if run.version != 1:  # told already
                tell_if_unchanged(run, self.say)
        return result

    def close(self) -> None:
        """Give up what is being evaluated."""
        self._evaluator.close()

    def _keep_version(self) -> None:
        run, form = self._state.run, self._evaluator.form
        digest = parameters_sha256(form.whole(run.tensors))
        metadata = {"run": run.run_id, "version": str(run.version), DIGEST: digest}
        with self._store.ours():
            self._kept_versions.put(run.version, form.state(run.tensors), metadata)

    def _write_models(self, result: RunResult) -> None:
        with self._store.ours():
            write_models(self._state.run, self._evaluator, result)
