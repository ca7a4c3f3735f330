"""Disks that are full or take no writes."""

import random
from collections.abc import Iterator

from chaos_federation import Federation

from disturbances.kind import Kind

SHORTEST, LONGEST = 3.0, 10.0


def _is_ours(federation: Federation) -> bool:
    return federation.out_disk.is_mounted and federation.state_disk.is_mounted


def full_for_coordinator(federation: Federation, dice: random.Random) -> Iterator[None]:
    says_so = federation.tells(federation.coordinator, "disk_full")
    federation.out_disk.fill()
    try:
        federation.until(says_so, "word of the full disk")
        federation.rest(dice.uniform(0, SHORTEST))
    finally:
        federation.out_disk.free()
    yield


def full_for_participants(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.state_disk.fill()
    try:
        federation.rest(dice.uniform(SHORTEST, LONGEST))
    finally:
        federation.state_disk.free()
    yield


def read_only_for_coordinator(federation: Federation, dice: random.Random) -> Iterator[None]:
    says_so = federation.tells(federation.coordinator, "disk_refuses")
    federation.out_disk.protect()
    try:
        federation.until(says_so, "word of the read-only disk")
        federation.rest(dice.uniform(0, SHORTEST))
    finally:
        federation.out_disk.release()
    yield


def read_only_for_participants(federation: Federation, dice: random.Random) -> Iterator[None]:
    federation.state_disk.protect()
    try:
        federation.rest(dice.uniform(SHORTEST, LONGEST))
    finally:
        federation.state_disk.release()
    yield


PAUSES = "It pauses and says so, and goes on by itself."
KINDS = (
    Kind("the coordinator's disk full", PAUSES, full_for_coordinator, _is_ours),
    Kind("the participants' disk full", PAUSES, full_for_participants, _is_ours),
    Kind("the coordinator's disk read-only", PAUSES, read_only_for_coordinator, _is_ours),
    Kind("the participants' disk read-only", PAUSES, read_only_for_participants, _is_ours),
)
