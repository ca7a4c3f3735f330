"""Who works on a version for longer than others usually take. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from fanfold.page.live_run import LiveRun, Person

SLOW = 1.5
"""So many times as long as the others usually take is slow."""
LEAST_SECONDS = 0.5
"""What others take counts as no less: below it, lateness is noise."""


@dataclass(frozen=True, slots=True)
class Late:
    """One participant that others may wait for."""

    name: str
    seconds: float
    """For which it works on its version."""
    times: float
    """As long as the others usually take."""


def late_ones(live: LiveRun, people: Sequence[Person], *, now: float) -> list[Late]:
    """Return who of these is slow, the slowest first.

    Args:
        live: the run, with everybody whose pace is known.
        people: those at work.
        now: seconds since 1970.
    """
    paces = {each.name: median(each.seconds) for each in live.people.values() if each.seconds}
    in_order = sorted(paces.values())
    found = []
    for person in people:
        usual = median_without(in_order, paces.get(person.name))
        began = work_began(person)
        if usual is not None and began is not None:
            seconds = now - began
            found.append(Late(person.name, seconds, seconds / max(usual, LEAST_SECONDS)))
    return sorted((each for each in found if each.times > SLOW), key=lambda each: -each.times)


def median_without(in_order: Sequence[float], value: float | None) -> float | None:
    """Return the median of numbers in order, one of them left out; None if there are no others."""
    at = len(in_order) if value is None else bisect_left(in_order, value)
    others = [*in_order[:at], *in_order[at + 1 :]]
    return median(others) if others else None


def work_began(person: Person) -> float | None:
    """Return when somebody began with the version that it works on; None if it is away."""
    last = person.lane.open
    if last is None:
        return None
    return person.lane.of_version(last.version)[0].begin
