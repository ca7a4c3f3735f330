"""How fast simulated participants send and receive."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.schemas.errors import InvalidInputError
from fanfold.simulation.numbers import numbers_of

_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([kMG]?)(bit|B)")
_TIMES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {"bit": 0.125, "B": 1.0}


@dataclass(frozen=True, slots=True)
class Link:
    """A participant's connection, in bytes a second; it shares it with nobody."""

    up: float = float("inf")
    down: float = float("inf")

    def seconds(self, *, bytes_up: int, bytes_down: int) -> float:
        """Return how long it takes to receive and then to send so much."""
        return bytes_up / self.up + bytes_down / self.down


UNLIMITED_LINK = Link()


def links(specs: Sequence[str], num_participants: int) -> list[Link]:
    """Return each participant's link; without a limit where none is given.

    Args:
        specs: `UP:DOWN` for all, or `WHO=UP:DOWN` for some, where WHO are numbers of participants
            such as `3` or `0-9,12`; a later one replaces an earlier one. UP and DOWN are numbers
            with a unit, a second: bit, kbit, Mbit, Gbit, or B, kB, MB, GB (by thousands).
        num_participants: they are numbered from 0.

    Example:
        >>> links(["8Mbit:1MB", "1=0.5kB:1kB"], 2)
        [Link(up=1000000.0, down=1000000.0), Link(up=500.0, down=1000.0)]

    Raises:
        InvalidInputError: if a text is none of these, or names somebody who is not there.
    """
    found = [UNLIMITED_LINK] * num_participants
    for spec in specs:
        who, _, rates = spec.rpartition("=")
        up, colon, down = rates.partition(":")
        if not colon or spec.startswith("="):
            raise _wrong(spec)
        link = Link(up=_bytes_per_second(up, spec), down=_bytes_per_second(down, spec))
        for index in numbers_of(who, "--bandwidth") if who else range(num_participants):
            if index >= num_participants:
                raise InvalidInputError(
                    f"--bandwidth {spec} is of a participant {index}, and the last of "
                    f"--participants {num_participants} is {num_participants - 1}"
                )
            found[index] = link
    return found


def _bytes_per_second(rate: str, spec: str) -> float:
    match = _RATE.fullmatch(rate)
    value = 0.0 if match is None else float(match[1]) * _TIMES[match[2]] * _BYTES[match[3]]
    if value <= 0:
        raise _wrong(spec)
    return value


def _wrong(spec: str) -> InvalidInputError:
    return InvalidInputError(
        f"--bandwidth {spec!r} is not understood; write UP:DOWN a second with their units, such as "
        "1Mbit:20Mbit or 100kB:2MB, and before it perhaps whose it is, as in 0-9=1Mbit:20Mbit"
    )
