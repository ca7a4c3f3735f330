"""How a simulated run ended: its models on the disk, and what is told of it."""

from dataclasses import dataclass
from pathlib import Path

from fanfold.coordinator.evaluation.model_files import write_model
from fanfold.coordinator.persistence.history import HISTORY
from fanfold.coordinator.persistence.model_names import BEST, DIGEST, MODEL
from fanfold.schemas.events.commands import SimulationFinished
from fanfold.schemas.events.event import Say
from fanfold.schemas.tensor_codec import parameters_sha256
from fanfold.simulation.event_loop import EventLoop
from fanfold.simulation.federation import SimulatedFederation
from fanfold.simulation.round_recorder import RoundRecorder


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """How one simulated run ended. `is_finished` is False if it was stopped."""

    is_finished: bool
    rounds: int
    updates: int
    seconds: float
    accuracy: float | None
    history: Path
    parameters_sha256: str
    reason: str | None = None
    """Why it ended early, if it did: what a metric reached."""


def end(
    folder: Path,
    federation: SimulatedFederation,
    recorder: RoundRecorder,
    loop: EventLoop,
    *,
    is_finished: bool,
    say: Say,
) -> SimulationResult:
    """Write the last model and the best one, say how a run ended, and return that.

    Args:
        folder: of the run.
        federation: with the last version.
        recorder: with what was measured.
        loop: with the simulated time.
        is_finished: False where the run was stopped, or would not go on.
        say: called with the event of a finished run.
    """
    tensors = federation.run.tensors
    digest = parameters_sha256(federation.form.whole(tensors))
    run, form = federation.run.run_id, federation.form
    metadata = {"run": run, "version": str(federation.version), DIGEST: digest}
    write_model(folder / MODEL, form, tensors, metadata)
    if recorder.best is not None:
        metadata["version"] = str(recorder.watch.best_version)
        metadata[DIGEST] = parameters_sha256(form.whole(recorder.best))
    write_model(folder / BEST, form, recorder.best or tensors, metadata)
    outcome = SimulationResult(
        is_finished=is_finished,
        rounds=federation.version,
        updates=recorder.num_updates,
        seconds=loop.now,
        accuracy=recorder.accuracy,
        history=folder / HISTORY,
        parameters_sha256=digest,
        reason=recorder.early_end,
    )
    if is_finished:
        say(
            SimulationFinished(
                mode=federation.settings.mode,
                seed=federation.settings.seed,
                rounds=outcome.rounds,
                updates=outcome.updates,
                simulated_seconds=outcome.seconds,
                accuracy=outcome.accuracy,
                history=str(outcome.history),
                parameters_sha256=outcome.parameters_sha256,
                reason=outcome.reason,
            )
        )
    return outcome
