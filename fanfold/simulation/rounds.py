"""The rules of each mode's rounds, from the options of one command line; and what has no effect."""

from collections.abc import Mapping
from typing import Any

from fanfold.cli.options import read
from fanfold.cli.settings import SimulationSettings
from fanfold.coordinator.rounds.policy import Mode
from fanfold.coordinator.settings import RoundSettings
from fanfold.coordinator.settings_warnings import chosen
from fanfold.coordinator.settings_warnings import without_effect as coordinator_without_effect
from fanfold.schemas.errors import InvalidInputError

UNENDING_ROUNDS = 2**53
"""The largest count that a message can carry."""


def rounds_of(
    mode: Mode, settings: SimulationSettings, options: Mapping[str, Any]
) -> RoundSettings:
    """Return the rules of one mode.

    Where several are compared, `goal` is that of the buffered one: the others would be it too. A
    run that ends by the clock has no last round unless one is named. Training uses one thread
    unless told otherwise, because small batches gain nothing from more.

    Raises:
        InvalidInputError: all that is wrong with the options, in one message.
    """
    given = {"threads": "1"} | {name: value for name, value in options.items() if value is not None}
    if settings.simulated_hours is not None:
        given.setdefault("rounds", str(UNENDING_ROUNDS))
    if len(settings.modes) > 1 and mode != "buffered":
        if "goal" in given and "buffered" not in settings.modes:
            raise InvalidInputError(
                "--goal is that of buffered where several modes are compared, and --mode does not "
                "name it; name one mode, or leave --goal out"
            )
        given.pop("goal", None)
    rounds = read(RoundSettings, given | {"mode": mode})
    if rounds.min_participants > settings.participants:
        raise InvalidInputError(
            f"--min-participants {rounds.min_participants} would wait for ever: there are "
            f"--participants {settings.participants}"
        )
    return rounds


def without_effect(
    settings: SimulationSettings, rounds: RoundSettings, *, can_evaluate: bool
) -> dict[str, str]:
    """Return the options that have no effect in a simulation, each with why."""
    reasons = {"min_participants": "in a simulation everybody is present from the beginning"}
    if settings.evaluate_seconds is not None:
        reasons["evaluate_every"] = "--evaluate-seconds stands instead of it"
    found = chosen(rounds, reasons) | coordinator_without_effect(rounds, can_evaluate=can_evaluate)
    if not can_evaluate:
        reason = "the task has no held-out data, or tensors that stay private"
        found |= chosen(settings, {"evaluate_seconds": reason})
    return found
