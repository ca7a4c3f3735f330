"""Runs one simulation per mode, one after the other, and draws them together."""

import threading
from collections.abc import Callable
from pathlib import Path

from fanfold.coordinator.rounds.closing_rule import Mode
from fanfold.coordinator.settings import RoundSettings
from fanfold.schemas.events.event import Say
from fanfold.simulation import plot
from fanfold.simulation.comparison import conclude
from fanfold.simulation.one_run import simulate
from fanfold.simulation.outcome import SimulationResult
from fanfold.simulation.settings import SimulationSettings


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
