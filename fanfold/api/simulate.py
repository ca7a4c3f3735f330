"""Federations simulated in this process: what `fanfold.simulate` and the command of it call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanfold.api.folders import new_folder
from fanfold.api.interrupts import OnReady, stopping_in_order
from fanfold.api.keywords import checked, in_keywords, keywords_of
from fanfold.api.reading import read
from fanfold.api.round_rules import rounds_of
from fanfold.api.tasks import TaskName, named_here
from fanfold.coordinator.settings import RoundSettings
from fanfold.runs.comparison import Comparison
from fanfold.runs.run import Run
from fanfold.schemas.errors import InvalidInputError, StoppedError
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run as run_simulation
from fanfold.views.progress import progress_view
from fanfold.views.view import View

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
    """Simulate several runs, of several modes or seeds, one after the other; see `simulate`.

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
        if not several and (len(settings.modes) > 1 or len(settings.all_seeds or ()) > 1):
            raise InvalidInputError(
                "simulate returns one run, and there are several modes or seeds; use compare"
            )
        for mode in settings.modes:
            rounds_of(mode, settings, given)  # all mistakes, before there is a folder
        if out is None:
            settings = settings.model_copy(update={"out": new_folder(given["task"])})
        try:
            return simulated(settings, given, view=progress_view(progress), on_ready=on_ready)
        except StoppedError as stopped:
            told = f"{stopped}; what there is lies in {settings.out}"
            raise KeyboardInterrupt(told) from None


def simulated(
    settings: SimulationSettings, options: Mapping[str, Any], *, view: View, on_ready: OnReady
) -> Comparison:
    """Run simulations to their end, and compare them; draw them if that is asked for.

    Args:
        settings: those of the simulation.
        options: all that was given, for the settings of the rounds.
        view: shows the events.
        on_ready: is given the function that stops it.

    Raises:
        StoppedError: if it was stopped.
        FanfoldError: if something cannot be used, or a run cannot go on.
    """
    with view:
        outcomes = run_simulation(
            settings,
            lambda mode: rounds_of(mode, settings, options),
            say=view.say,
            on_ready=on_ready,
        )
    if not all(outcome.is_finished for outcome in outcomes.values()):
        raise StoppedError("stopped before the last round")
    return Comparison(
        {label: Run(outcome.history.parent) for label, outcome in outcomes.items()},
        title=_title(settings),
    )


def _title(settings: SimulationSettings) -> str:
    dropout = f", dropout {settings.dropout:g}" if settings.dropout else ""
    return f"{settings.participants} simulated participants, {settings.speeds}{dropout}"
