"""Runs one simulation per mode, one after the other, and draws them together."""

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fanfold.coordinator.aggregation import fixed_settings
from fanfold.coordinator.aggregation.run_state import DivergedError
from fanfold.coordinator.evaluation.model_files import write_model
from fanfold.coordinator.persistence.history import HISTORY, History, started
from fanfold.coordinator.persistence.model_names import BEST, DIGEST, MODEL
from fanfold.coordinator.rounds.closing_rule import Mode
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import (
    Task,
    TrainingAbandoned,
    build_network,
    local_device,
    make_task,
    metrics_of,
    named_tensors,
    read_data,
    replace_tensors,
    shared_tensors,
    without_caches,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import SimulationFinished, SimulationStarted
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.shared import EvaluationFailed, OptionWithoutEffect, TrainingNote
from fanfold.schemas.tensor_codec import parameters_sha256
from fanfold.schemas.timestamps import iso_utc
from fanfold.simulation import plot
from fanfold.simulation.bandwidth import links
from fanfold.simulation.comparison import conclude
from fanfold.simulation.event_loop import EventLoop, StuckError
from fanfold.simulation.federation import SimulatedFederation
from fanfold.simulation.participants import Participants, Share
from fanfold.simulation.round_recorder import Evaluate, RoundRecorder, simulated_time
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.settings_warnings import without_effect
from fanfold.simulation.speeds import slowness


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


def run(
    settings: SimulationSettings,
    rounds_of: Callable[[Mode], RoundSettings],
    *,
    say: Say,
    on_ready: Callable[[Callable[[str], None]], None],
) -> dict[str, SimulationResult]:
    """Simulate every mode with every seed, and return how each run ended, by its folder in `out`.

    Several runs are compared, and drawn if that is wanted. None follows one that was stopped.

    Args:
        settings: the settings of the simulation.
        rounds_of: returns the settings of the rounds for a mode.
        say: called with each event.
        on_ready: called with the function that stops the simulation.

    Raises:
        InvalidInputError: if task, data, speeds or the folder cannot be used.
        StuckError: if no event can close an open round.
        DivergedError: if a step would make values infinite or NaN; the version before is written.
    """
    if settings.plot:
        plot.check_matplotlib()
    stopped = threading.Event()
    on_ready(lambda _reason: stopped.set())
    rules = {mode: rounds_of(mode) for mode in settings.modes}  # all mistakes, before any training
    outcomes: dict[str, SimulationResult] = {}
    groups: dict[str, list[Path]] = {}
    for mode, rounds in rules.items():
        for seed in settings.all_seeds or (rounds.seed,):
            name = mode if settings.all_seeds is None else f"{mode}/seed-{seed}"
            if not stopped.is_set():
                outcomes[name] = simulate(
                    settings,
                    rounds.model_copy(update={"seed": seed}),
                    folder=settings.out / name,
                    say=say,
                    should_stop=stopped.is_set,
                )
                groups.setdefault(mode, []).append(outcomes[name].history)
    if not stopped.is_set():
        ends = (each.seconds for each in outcomes.values() if each.reason is None)
        conclude(
            settings,
            groups,
            next(iter(rules.values())).metric,
            seconds=min(ends, default=float("inf")),
            say=say,
        )
    return outcomes


def simulate(
    settings: SimulationSettings,
    rounds: RoundSettings,
    *,
    folder: Path,
    say: Say,
    should_stop: Callable[[], bool] = lambda: False,
) -> SimulationResult:
    """Simulate one run in a folder of its own."""
    _make(folder)
    names = [f"participant-{index}" for index in range(settings.participants)]
    task = make_task(rounds.task, settings.data, seed=rounds.seed)
    task.execution = replace(
        task.execution, device=local_device(settings.device), should_stop=should_stop
    )
    share = Share(
        rounds.task,
        () if settings.data is None else (settings.data,),
        settings.partition,
        settings.participants,
        rounds.seed,
        settings.device,
    )
    with closing(History(folder / HISTORY)) as history:
        evaluate = _evaluation(task, say)
        idle = without_effect(settings, rounds, can_evaluate=evaluate is not None)
        for option, reason in idle.items():
            say(OptionWithoutEffect(option, reason))
        recorder = RoundRecorder(
            history,
            evaluate=evaluate,
            evaluate_every=rounds.evaluate_every,
            evaluate_seconds=settings.evaluate_seconds,
            watch=rounds.watch,
            say=say,
        )
        federation = SimulatedFederation(
            rounds,
            run_id=f"simulated-{rounds.mode}-{rounds.seed}",
            task=task,
            participants=Participants(names, share, should_stop, _told_once(say)),
            names=names,
            example_seconds=settings.example_seconds,
            links=links(settings.bandwidth, settings.participants),
            recorder=recorder,
        )
        start = started(rounds, run=federation.run.run_id, epoch=1, version=0)
        history.append({"event": "started", "time": iso_utc(simulated_time(0))} | start)
        say(_started(settings, rounds, federation.run.run_id))
        if rounds.fixed is not None:
            say(fixed_settings.chosen(rounds.fixed))
        loop = EventLoop(
            federation,
            names,
            slowness(settings.speeds, settings.participants, rounds.seed),
            policy=rounds.policy,
            seed=rounds.seed,
            dropout=settings.dropout,
            until_seconds=settings.until_seconds,
            should_stop=should_stop,
        )
        torch.set_num_threads(rounds.threads or 1)  # many small steps: threads would only wait
        try:
            loop.run()
        except StuckError as stuck:
            raise StuckError(f"{stuck} The last refusal: {federation.last_refusal}") from None
        except DivergedError:
            # The last good model.
            _finish(folder, federation, recorder, loop, is_finished=False, say=say)
            raise
        except TrainingAbandoned:  # stopped in the middle of a training or an evaluation
            return _finish(folder, federation, recorder, loop, is_finished=False, say=say)
        finally:
            history.flush()
        return _finish(folder, federation, recorder, loop, is_finished=not should_stop(), say=say)


def _finish(
    folder: Path,
    federation: SimulatedFederation,
    recorder: RoundRecorder,
    loop: EventLoop,
    *,
    is_finished: bool,
    say: Say,
) -> SimulationResult:
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


def _evaluation(task: Task, say: Say) -> Evaluate | None:
    """Return how to measure a version; None without held-out data, or with private tensors.

    An evaluation that fails is reported and skipped, as in the coordinator.
    """
    network = build_network(task)
    shared = shared_tensors(network, task.shared)
    is_whole = len(shared) == len(named_tensors(network))
    data = read_data(task, task.test_data) if is_whole else None
    if data is None:
        return None

    def evaluate(version: int, tensors: Mapping[str, Tensor]) -> Mapping[str, float]:
        try:
            shared = shared_tensors(network, task.shared)
            replace_tensors(shared, without_caches(tensors, shared))
            return metrics_of(task.evaluate(network, data))
        except TrainingAbandoned:
            raise
        except Exception as error:  # noqa: BLE001 - told in words
            reason = f"{type(error).__name__}: {error}"
            say(EvaluationFailed(version, reason))
            return {}

    return evaluate


def _told_once(say: Say) -> Callable[[str], None]:
    told: set[str] = set()

    def note(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            say(TrainingNote(sentence))

    return note


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / HISTORY).open("ab"):
            pass
    except OSError as error:
        raise InvalidInputError(
            f"--out {folder} cannot be written to ({error.strerror}); choose another folder"
        ) from None


def _started(settings: SimulationSettings, rounds: RoundSettings, run_id: str) -> SimulationStarted:
    return SimulationStarted(
        run=run_id,
        mode=rounds.mode,
        version=0,
        rounds=rounds.rounds if settings.simulated_hours is None else None,
        task=rounds.task,
        participants=settings.participants,
        speeds=settings.speeds,
        dropout=settings.dropout,
        seed=rounds.seed,
    )
