"""One simulated run, from the first version to its end, in a folder of its own."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fanfold.coordinator.aggregation import fixed_settings
from fanfold.coordinator.aggregation.run_state import DivergedError
from fanfold.coordinator.persistence.history import HISTORY, History, started
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import TrainingAbandoned, local_device, make_task
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import SimulationStarted
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.shared import OptionWithoutEffect, TrainingNote
from fanfold.schemas.timestamps import iso_utc
from fanfold.simulation.bandwidth import links
from fanfold.simulation.evaluation import evaluation_of
from fanfold.simulation.event_loop import EPOCH, EventLoop, StuckError
from fanfold.simulation.federation import SimulatedFederation
from fanfold.simulation.outcome import SimulationResult, end
from fanfold.simulation.participants import Participants, Share
from fanfold.simulation.round_recorder import RoundRecorder, simulated_time
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.settings_warnings import without_effect
from fanfold.simulation.speeds import slowness


def simulate(
    settings: SimulationSettings,
    rounds: RoundSettings,
    *,
    folder: Path,
    say: Say,
    should_stop: Callable[[], bool] = lambda: False,
) -> SimulationResult:
    """Simulate one run in a folder of its own.

    Args:
        settings: of the simulation.
        rounds: of the run, with its mode and its seed.
        folder: of the history and the models; made where there is none.
        say: called with each event.
        should_stop: whether somebody wants it to end; asked between events and within a training.

    Raises:
        InvalidInputError: if task, data, speeds or the folder cannot be used.
        StuckError: if no event can close an open round.
        DivergedError: if a step would make values infinite or NaN; the version before is written.
    """
    _make(folder)
    task = make_task(rounds.task, settings.data, seed=rounds.seed)
    task.execution = replace(
        task.execution, device=local_device(settings.device), should_stop=should_stop
    )
    names = [f"participant-{index}" for index in range(settings.participants)]
    with closing(History(folder / HISTORY)) as history:
        evaluate = evaluation_of(task, say)
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
            participants=_participants(settings, rounds, names, say, should_stop),
            names=names,
            example_seconds=settings.example_seconds,
            links=links(settings.bandwidth, settings.participants),
            recorder=recorder,
        )
        start = started(rounds, run=federation.run.run_id, epoch=EPOCH, version=0)
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
        end_run = partial(end, folder, federation, recorder, loop, say=say)
        torch.set_num_threads(rounds.threads or 1)  # many small steps: threads would only wait
        try:
            loop.run()
        except StuckError as stuck:
            raise StuckError(f"{stuck} The last refusal: {federation.last_refusal}") from None
        except DivergedError:
            end_run(is_finished=False)  # with the last good model
            raise
        except TrainingAbandoned:  # stopped in the middle of a training or an evaluation
            return end_run(is_finished=False)
        finally:
            history.flush()
        return end_run(is_finished=not should_stop())


def _participants(
    settings: SimulationSettings,
    rounds: RoundSettings,
    names: list[str],
    say: Say,
    should_stop: Callable[[], bool],
) -> Participants:
    share = Share(
        rounds.task,
        () if settings.data is None else (settings.data,),
        settings.partition,
        settings.participants,
        rounds.seed,
        settings.device,
    )
    return Participants(names, share, should_stop, _told_once(say))


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
