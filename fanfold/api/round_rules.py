"""The rules of each mode's rounds, from the options of one command line."""

from collections.abc import Mapping
from typing import Any

from fanfold.api.reading import read
from fanfold.coordinator.rounds.policy import Mode
from fanfold.coordinator.settings import RoundSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation.settings import SimulationSettings

UNENDING_ROUNDS = 2**53
"""The largest count that fits into a message."""


def rounds_of(
    mode: Mode, settings: SimulationSettings, options: Mapping[str, Any]
) -> RoundSettings:
    """Return the rules of one mode.

    If several modes are compared, `goal` applies to the buffered one: with the same goal all of
    them would be the same. A run that ends after a time has no last round unless `rounds` is given.
    Training uses one thread unless `threads` is given, because small batches gain nothing from
    more.

    Raises:
        InvalidInputError: if options are wrong; one message names all of them.
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
