"""Processes that stop for a while, and a second coordinator that stands by."""

import random
from collections.abc import Iterator

from chaos_federation import Federation

from disturbances.kind import kind

SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 40.0
SUPERSEDED = 1
"""The exit code of a coordinator that another one took over from."""


@kind(
    "a participant stopped for 5 to 40 s",
    "Rounds go on without it, and it is among them again.",
)
def participant_paused(federation: Federation, dice: random.Random) -> Iterator[None]:
    victim = dice.choice(federation.participants)
    federation.pause(victim, dice.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))
    yield


@kind("three participants stopped for 5 to 20 s", "A deadline closes the rounds meanwhile.")
def most_paused(federation: Federation, dice: random.Random) -> Iterator[None]:
    for victim in dice.sample(federation.participants, 3):
        federation.pause(victim, dice.uniform(SHORTEST_PAUSE, LONGEST_PAUSE / 2))
    yield


@kind("the coordinator stopped for 5 to 20 s", "It goes on where it was.")
def coordinator_paused(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.pause(federation.coordinator, dice.uniform(SHORTEST_PAUSE, LONGEST_PAUSE / 2))
    yield


@kind("the coordinator stopped for 40 s", "It takes the lock that it lost again.", is_slow=True)
def coordinator_paused_long(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.pause(federation.coordinator, LONGEST_PAUSE)
    federation.rest(LONGEST_PAUSE)
    yield


@kind("the coordinator killed before a standby", "The standby takes over by itself.")
def standby(federation: Federation, dice: random.Random) -> Iterator[None]:
    successor = federation.stand_by()
    took_over = federation.takes_over(successor)
    federation.kill(federation.coordinator)
    federation.until(took_over, "the takeover")
    federation.coordinator = successor
    yield


@kind(
    "the coordinator stopped for 40 s before a standby",
    "The standby takes over; the old one says so and ends.",
    is_slow=True,
)
def standby_behind_a_stopped_one(federation: Federation, dice: random.Random) -> Iterator[None]:
    successor = federation.stand_by()
    took_over = federation.takes_over(successor)
    old = federation.coordinator
    federation.pause(old, LONGEST_PAUSE)
    federation.expect_end(old)
    federation.until(took_over, "the takeover")
    federation.coordinator = successor
    yield
    code = federation.wait_end(old)
    assert code == SUPERSEDED, f"it ended with {code}"
    assert "took over the run" in federation.log(old)


@kind("a standby asked to end", "It ends, and the active coordinator goes on.")
def standby_stopped(federation: Federation, dice: random.Random) -> Iterator[None]:
    successor = federation.stand_by()
    federation.expect_end(successor)
    federation.services.terminate(successor)
    federation.wait_end(successor)
    yield


KINDS = (
    participant_paused,
    most_paused,
    coordinator_paused,
    coordinator_paused_long,
    standby,
    standby_behind_a_stopped_one,
    standby_stopped,
)
