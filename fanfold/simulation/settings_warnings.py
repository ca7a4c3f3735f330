"""Options that have no effect in a simulation, each with why."""

from fanfold.coordinator.settings import RoundSettings
from fanfold.coordinator.settings.without_effect import chosen
from fanfold.coordinator.settings.without_effect import without_effect as coordinator_without_effect
from fanfold.simulation.settings import SimulationSettings


def without_effect(
    settings: SimulationSettings, rounds: RoundSettings, *, can_evaluate: bool
) -> dict[str, str]:
    """Return the options that have no effect in a simulation, each with why."""
    reasons = {"min_participants": "in a simulation everybody is present from the beginning"}
    if settings.evaluate_seconds is not None:
        reasons["evaluate_every"] = "--evaluate-seconds is used instead"
    own = {}
    if settings.num_runs == 1:
        own["compare"] = "there is one run, and nothing to compare it with"
    found = (
        chosen(settings, own)
        | chosen(rounds, reasons)
        | coordinator_without_effect(rounds, can_evaluate=can_evaluate)
    )
    if not can_evaluate:
        reason = "the task has no held-out data, or tensors that stay private"
        found |= chosen(settings, {"evaluate_seconds": reason})
    return found
