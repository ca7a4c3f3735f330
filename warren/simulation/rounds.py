"""The rules of each mode's rounds, from the options of one command line."""

from collections.abc import Mapping
from typing import Any

from coordinator.rules import Mode
from coordinator.settings import RoundSettings
from warren.options import read
from warren.settings import SimulationSettings

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
    chosen = {"threads": "1"} | {
        name: value for name, value in options.items() if value is not None
    }
    if settings.simulated_hours is not None:
        chosen.setdefault("rounds", str(UNENDING_ROUNDS))
    if len(settings.modes) > 1 and mode != "buffered":
        chosen.pop("goal", None)
    return read(RoundSettings, chosen | {"mode": mode})
