"""The result of a run in its folder: the last model, the best one, and their hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fanfold.coordinator.aggregation.metric_means import finite
from fanfold.coordinator.aggregation.refusals import in_words
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.evaluation.evaluator import Evaluator
from fanfold.coordinator.evaluation.model_files import write_model
from fanfold.coordinator.persistence.model_names import BEST, DIGEST, MODEL
from fanfold.coordinator.rounds.left_out import LeftOut
from fanfold.coordinator.rounds.reports import RoundReports
from fanfold.schemas import messages
from fanfold.schemas.events.coordinator import ModelUnchanged, RunFinished
from fanfold.schemas.events.event import Say
from fanfold.schemas.tensor_codec import parameters_sha256

MOST_REASON = 1024
"""Characters of a reason that travel."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `is_finished` is False if it was stopped before the last round."""

    is_finished: bool
    rounds: int
    accuracy: float | None
    model: Path
    parameters_sha256: str
    left_out: Mapping[str, int] | None = None
    refused: str | None = None
    reason: str | None = None
    """Why it ended before the last round, if it did."""
    measured_by: str | None = None
    upstream_version: int | None = None
    """Of a region: the last version of the run upstream, where it was told."""

    def message(self, run: RunState, model_digest: str | None) -> messages.RunFinished:
        """Return what participants are told of the end of a run."""
        return messages.RunFinished(
            run=run.run_id,
            version=run.version if self.upstream_version is None else self.upstream_version,
            reason=self.reason and self.reason[:MOST_REASON],
            accuracy=self.accuracy,
            model=model_digest,
        )

    def event(self) -> RunFinished:
        """Return what is told of a run that is finished."""
        return RunFinished(
            rounds=self.rounds,
            accuracy=self.accuracy,
            model=str(self.model),
            parameters_sha256=self.parameters_sha256,
            left_out=self.left_out,
            refused=self.refused,
            reason=self.reason,
            measured_by=self.measured_by,
            upstream_version=self.upstream_version,
        )


def run_result_of(
    run: RunState,
    evaluator: Evaluator,
    reports: RoundReports,
    *,
    folder: Path,
    is_finished: bool,
    left_out: LeftOut,
    reason: str | None,
) -> RunResult:
    """Return the state of the run; its accuracy is that of the last version, if it is known."""
    accuracy = None if reports.last is None else reports.last.accuracy
    measured_by = None if reports.last is None else reports.last.measured_by
    if evaluator.last is not None:
        accuracy = finite(evaluator.last.metrics).get("accuracy")
    return RunResult(
        is_finished=is_finished,
        rounds=run.version,
        accuracy=accuracy,
        model=folder / MODEL,
        parameters_sha256=parameters_sha256(evaluator.form.whole(run.tensors)),
        left_out=dict(left_out.rounds) or None,
        refused=in_words(left_out.reasons) if left_out.reasons else None,
        reason=reason,
        measured_by=measured_by,
    )


def tell_if_unchanged(run: RunState, say: Say) -> None:
    """Say so if a run has learned nothing so far: all parameters are those of version 0."""
    if run.version > 0 and run.origin.is_still(run.tensors, run.kinds):
        say(ModelUnchanged(run.version))


def write_models(run: RunState, evaluator: Evaluator, result: RunResult) -> None:
    """Write the last model; it is also the best one where nothing was measured.

    Raises:
        OSError: if the disk refuses; it can be tried again.
    """
    metadata = {"run": run.run_id, "version": str(run.version), DIGEST: result.parameters_sha256}
    write_model(result.model, evaluator.form, run.tensors, metadata)
    if evaluator.watch.best is None:
        write_model(result.model.with_name(BEST), evaluator.form, run.tensors, metadata)
