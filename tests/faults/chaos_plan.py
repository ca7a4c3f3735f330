"""The steps of a chaos run and their order, drawn from a seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from disturbances import Kind

Victim = Literal["coordinator", "participant", "broker"]

PHASES: dict[Victim, tuple[str, ...]] = {
    "coordinator": ("publishing", "folding", "aggregating", "committing", "acknowledging"),
    "participant": ("downloading", "training", "uploading"),
    "broker": (),
}
SHARE = 4
"""One of this many kills and disturbances is carried out on the federation with top-k, and one on
the sealed one."""
LATE_SECONDS = 0.003
"""The longest time into its phase for an aimed kill; every second one is at its beginning."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill of the plan."""

    victim: Victim
    delay_seconds: float
    aim: str | None
    aim_seconds: float
    """How long after the beginning of the phase."""
    pause_seconds: float
    """How long until the victim is started again."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One disturbance of the plan."""

    kind: Kind
    seed: int


Step = Kill | Disturbance


def plans(
    *, kills: int, kinds: Sequence[Kind], disturbances: int, seed: int
) -> tuple[list[Step], list[Step], list[Step]]:
    """Draw what is done to the federations: the plain one, the one with top-k, the sealed one.

    As many kills of each victim, and every kind once before any comes twice.
    """
    dice = random.Random(seed)
    victims: tuple[Victim, ...] = ("coordinator", "participant", "broker")
    kill_all = [_kill(victims[number % len(victims)], dice) for number in range(kills)]
    dice.shuffle(kill_all)
    deck: list[Kind] = []
    drawn: list[Disturbance] = []
    for _ in range(disturbances if kinds else 0):
        deck = deck or dice.sample(kinds, len(kinds))
        drawn.append(Disturbance(deck.pop(), dice.randrange(1 << 32)))
    share, most = len(kill_all) // SHARE, len(drawn) // SHARE
    top_k = [each for each in drawn if each.kind.is_replayable][:most]
    others = [each for each in drawn if each not in top_k]
    planned: tuple[list[Step], list[Step], list[Step]] = (
        [*kill_all[2 * share :], *others[most:]],
        [*kill_all[:share], *top_k],
        [*kill_all[share : 2 * share], *others[:most]],
    )
    for steps in planned:
        dice.shuffle(steps)
    return planned


def _kill(victim: Victim, dice: random.Random) -> Kill:
    aimed = bool(PHASES[victim]) and dice.random() < 0.5
    return Kill(
        victim,
        delay_seconds=dice.uniform(0, 0.6),
        aim=dice.choice(PHASES[victim]) if aimed else None,
        aim_seconds=max(0.0, dice.uniform(-LATE_SECONDS, LATE_SECONDS)),
        pause_seconds=dice.uniform(0, 0.3),
    )
