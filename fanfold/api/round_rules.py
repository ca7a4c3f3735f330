"""The rules of each mode's rounds, from the options of one command line."""

import math
from collections.abc import Mapping
from typing import Any

from fanfold.api.reading import read
from fanfold.coordinator.rounds.closing_rule import Mode
from fanfold.coordinator.settings import RoundSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import SimulationStarted
from fanfold.schemas.events.event import Event
from fanfold.simulation.settings import SimulationSettings

UNENDING_ROUNDS = 2**53
"""The largest count that fits into a message."""


def rounds_of(
    mode: Mode, settings: SimulationSettings, options: Mapping[str, Any]
) -> RoundSettings:
    """Return the rules of one mode.

    If several modes are compared, `goal` applies to the buffered one: with the same goal all of
    them would be the same. A run that ends after a time has no last round unless `rounds` is given.
    Compared by updates, each mode has as many rounds as give it the updates that `rounds` of all
    participants have, and is evaluated after equally many updates.
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
    if settings.seeds is not None and "seed" in given:
        raise InvalidInputError("--seeds names the seeds of all runs; leave --seed out")
    rounds = read(RoundSettings, given | {"mode": mode})
    if rounds.min_participants > settings.participants:
        raise InvalidInputError(
            f"--min-participants {rounds.min_participants} would wait for ever: there are "
            f"--participants {settings.participants}"
        )
    if len(settings.modes) > 1 and settings.axis == "updates":
        return _of_equal_work(rounds, settings.participants)
    return rounds


def settings_of(
    event: Event, settings: SimulationSettings, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all settings of a simulated run that begins, as JSON has them."""
    own = settings.model_dump(mode="json", exclude={"mode", "seeds"})
    if not isinstance(event, SimulationStarted):
        return own
    (mode,) = (each for each in settings.modes if each == event.mode)
    rounds = rounds_of(mode, settings, options).model_dump(mode="json")
    return own | rounds | {"seed": event.seed}


def _of_equal_work(rounds: RoundSettings, participants: int) -> RoundSettings:
    policy = rounds.policy
    of_all = min(participants, max(1, policy.quorum, round(policy.fraction * participants)))
    of_this = of_all if policy.goal == "all" else min(max(policy.goal, policy.quorum), of_all)
    every = max(1, rounds.evaluate_every * of_all // of_this)
    number = math.ceil(rounds.rounds * of_all / of_this)
    return rounds.model_copy(update={"rounds": number, "evaluate_every": every})
