"""Connections that an operator closes through the management API."""

import random
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import httpx
from chaos_federation import Federation

from disturbances.kind import kind

LISTED_SECONDS = 60.0
"""The management API lists a connection seconds after it was made."""


def close(federation: Federation, role: str, participant: str | None = None) -> None:
    """Close all connections of somebody, once they are listed."""
    names: list[str] = []

    def listed() -> bool:
        names[:] = federation.management.connections(role, participant)
        return bool(names)

    federation.until(listed, f"connections of {participant or role}", seconds=LISTED_SECONDS)
    for name in names:
        with suppress(httpx.HTTPStatusError):  # it is gone already
            federation.broker.api("DELETE", f"/api/connections/{quote(name, safe='')}")


@kind("a participant's connections closed", "It comes back, and what it trains counts once.")
def participants_closed(federation: Federation, dice: random.Random) -> Iterator[None]:
    close(federation, "participant", dice.choice(federation.participants).name)
    yield


@kind("the coordinator's connections closed", "It takes the lock again, and goes on.")
def coordinators_closed(federation: Federation, dice: random.Random) -> Iterator[None]:
    close(federation, "coordinator")
    yield


@kind("all connections closed", "Everybody comes back.")
def all_closed(federation: Federation, dice: random.Random) -> Iterator[None]:
    for role in dice.sample(("coordinator", "participant"), 2):
        close(federation, role)
    yield


KINDS = (participants_closed, coordinators_closed, all_closed)
