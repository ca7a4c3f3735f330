"""Federations simulated in this process: what `fanfold.simulate` and the command of it call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fanfold.api.folders import new_folder
from fanfold.api.interrupts import OnReady, stopping_in_order
from fanfold.api.keywords import checked, in_keywords, keywords_of
from fanfold.api.reading import read
from fanfold.api.round_rules import rounds_of, settings_of
from fanfold.api.tasks import TaskName, named_here
from fanfold.coordinator.settings import RoundSettings
from fanfold.monitoring.tracking.tracker import Tracker
from fanfold.runs.comparison import Comparison
from fanfold.runs.run import Run
from fanfold.schemas.errors import InvalidInputError, StoppedError
from fanfold.simulation.outcome import SimulationResult
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run as run_simulation
from fanfold.views.progress import progress_view
from fanfold.views.view import Beside, View

MODELS = (RoundSettings, SimulationSettings)


@keywords_of(*MODELS)
def simulate(
    task: TaskName = "digits",
    *,
    progress: bool = True,
    out: str | Path | None = None,
    **options: Any,
) -> Run:
    """Simulate a federation in this process, in simulated time, as `fanfold simulate` does.

    Ctrl-C stops it in order, and is then raised; what was trained is kept.

    Args:
        task: any class that derives from `Task`, also one that a notebook defines, or its name.
        progress: show how far it is, in a notebook or a terminal.
        out: folder for the run; by default each gets a new one in `runs`.
        options: those of `fanfold simulate`, with underscores: `--server-optimizer` is
            `server_optimizer`. `plot` is False by default, because `Run` can plot itself.

    Raises:
        FanfoldError: if an option, the task or its data cannot be used, or the run failed: one
            sentence says why.

    Example:
        >>> run = fanfold.simulate(Radiology, participants=20, rounds=10, mode="buffered", goal=5)
        >>> run.plot()
    """
    runs = _simulate(task, progress, out, options, several=False)
    return next(iter(runs.values()))


@keywords_of(*MODELS)
def compare(
    task: TaskName = "digits",
    *,
    progress: bool = True,
    out: str | Path | None = None,
    **options: Any,
) -> Comparison:
    """Simulate several runs, such as `mode="all"`, one after the other; see `simulate`.

    Returns:
        The runs by label, with a plot of all of them.

    Raises:
        FanfoldError: as from `simulate`.

    Example:
        >>> runs = fanfold.compare(Radiology, participants=20, mode=["sync", "buffered"], goal=5)
        >>> runs.plot()
        >>> runs["buffered"].history[-1].accuracy
    """
    return _simulate(task, progress, out, options, several=True)


def _simulate(
    task: TaskName,
    progress: bool,
    out: str | Path | None,
    options: Mapping[str, Any],
    *,
    several: bool,
) -> Comparison:
    with in_keywords(*MODELS), stopping_in_order() as on_ready:
        given = {"plot": False} | checked(options, *MODELS) | {"task": named_here(task)}
        if out is not None:
            given["out"] = out
        settings = read(SimulationSettings, given)
        if settings.num_runs > 1 and not several:
            raise InvalidInputError(
                f"simulate returns one run, and there would be {settings.num_runs}, of several "
                "modes or seeds; use compare"
            )
        for mode in settings.modes:
            rounds_of(mode, settings, given)  # all mistakes, before there is a folder
        if out is None:
            settings = settings.model_copy(update={"out": new_folder(given["task"])})
        threads = torch.get_num_threads()  # those of the script; a simulation has its own
        try:
            outcomes = simulated(settings, given, view=progress_view(progress), on_ready=on_ready)
        except StoppedError as stopped:
            told = f"{stopped}; what there is lies in {settings.out}"
            raise KeyboardInterrupt(told) from None
        finally:
            torch.set_num_threads(threads)
    runs = {name: Run(outcome.history.parent) for name, outcome in outcomes.items()}
    return Comparison(runs, axis=settings.axis)


def simulated(
    settings: SimulationSettings, options: Mapping[str, Any], *, view: View, on_ready: OnReady
) -> dict[str, SimulationResult]:
    """Run simulations to their end, and return how each ended, by its folder in `out`.

    Args:
        settings: those of the simulation.
        options: all that was given, for the settings of the rounds.
        view: shows the events.
        on_ready: is given the function that stops it.

    Raises:
        StoppedError: if it was stopped.
        FanfoldError: if something cannot be used, or a run cannot go on.
    """
    tracker = Tracker(
        settings.track, settings.out, lambda event: settings_of(event, settings, options)
    )
    with tracker, Beside(view, tracker.hear) as told:
        outcomes = run_simulation(
            settings,
            lambda mode: rounds_of(mode, settings, options),
            say=told.say,
            on_ready=on_ready,
        )
    if not all(outcome.is_finished for outcome in outcomes.values()):
        raise StoppedError("stopped before the last round")
    return outcomes
