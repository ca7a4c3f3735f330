"""What is kept of uploads at both ends, damaged while nobody has it open."""

import random
from collections.abc import Iterator

from chaos_federation import Federation
from phase_notes import NO_AIM

from disturbances.damage import REFUSED, flip
from disturbances.kind import Kind

FLUSH_SECONDS = 0.3
"""For the chunks before to reach the broker."""
COMMIT_SECONDS = 1.0
"""For what has come to be committed, and acknowledged."""


def spool(federation: Federation, dice: random.Random) -> Iterator[None]:
    """A part of an upload, of which chunks were acknowledged, while its sender is stopped."""
    coordinator, sender = federation.coordinator, dice.choice(federation.participants)
    sender.note.aim = ("half uploaded", FLUSH_SECONDS, "stop")
    federation.until(lambda: sender.note.aim == NO_AIM, "half an upload")
    federation.pause(sender, dice.uniform(4, 8))
    federation.rest(COMMIT_SECONDS)
    with federation.dead(coordinator):
        for path in (federation.out / "spool").iterdir():
            flip(path, dice)
    yield


def state(federation: Federation, dice: random.Random) -> Iterator[None]:
    """It is refused in words, or trained again; never sent as it is."""
    index = dice.choice(
        [i for i in range(len(federation.participants)) if federation.leg.keeps_state(i)]
    )
    victim = federation.participants[index]
    federation.kill(victim)
    paths = [path for path in federation.state_of(victim).iterdir() if "last" in path.name]
    for path in paths:
        flip(path, dice)
    answers = federation.tells(victim, "update_sent")
    federation.services.start(victim)

    def took_up() -> bool:
        return federation.services.has_ended(victim) or answers()

    federation.until(took_up, f"{victim.name} with a damaged state")
    if federation.services.has_ended(victim):
        assert federation.services.wait(victim) == REFUSED, federation.log(victim)
        for path in paths:
            assert path.name in federation.log(victim), "the sentence does not name the file"
            path.unlink()
        federation.start(victim)
    else:
        federation.watch(victim)
    yield


KINDS = (
    Kind(
        "a part of an upload damaged in the spool",
        "Rounds go on, and the update counts once or not at all.",
        spool,
    ),
    Kind(
        "a participant's state damaged",
        "It is refused in words, or the version is trained again.",
        state,
        is_replayable=False,
    ),
)
