"""Learning rates that follow the version.

A schedule is a factor of `--lr`, or several joined by `+`, whose factors are multiplied. With v the
version that is trained on, counted from 0, and R the rounds of the run:

- `constant`: 1
- `linear`: 1 - v / R
- `cosine`: (1 + cos(pi v / R)) / 2 (Loshchilov and Hutter 2017, SGDR, without restarts)
- `step:N:F`: F to the power of v / N, rounded down
- `exponential:F`: F to the power of v
- `warmup:N`: (v + 1) / (N + 1), but never above 1
"""

import math
from collections.abc import Callable
from functools import partial

from fanfold.schemas.errors import InvalidInputError

Schedule = Callable[[int, int], float]
"""Called with version and rounds; gives a factor of the learning rate, from 0 to 1."""


def parse_schedule(text: str) -> Schedule:
    """Read a schedule, such as `cosine`, `step:10:0.5` or `warmup:5+cosine`.

    Raises:
        InvalidInputError: if it is none.
    """
    return partial(_product, [_parse(part.strip()) for part in text.split("+")])


def _product(parts: list[Schedule], version: int, rounds: int) -> float:
    return math.prod(part(version, rounds) for part in parts)


def _parse(text: str) -> Schedule:
    name, *arguments = text.split(":")
    try:
        schedule = _schedule(name, arguments)
    except ValueError:
        schedule = None
    if schedule is None:
        raise InvalidInputError(
            f"{text!r} is no schedule of learning rates; use constant, linear, cosine, step:N:F, "
            "exponential:F or warmup:N, joined by + if there are several, with versions N from 1 "
            "and a factor F from 0 to 1"
        )
    return schedule


def _schedule(name: str, arguments: list[str]) -> Schedule | None:
    match name, arguments:
        case _, []:
            return _PLAIN.get(name)
        case "step", [every, factor]:
            return partial(_power, _factor(factor), _count(every))
        case "exponential", [factor]:
            return partial(_power, _factor(factor), 1)
        case "warmup", [versions]:
            return partial(_warmup, _count(versions))
    return None


def _constant(_version: int, _rounds: int) -> float:
    return 1.0


def _linear(version: int, rounds: int) -> float:
    return max(0.0, 1 - version / max(1, rounds))


def _cosine(version: int, rounds: int) -> float:
    return (1 + math.cos(math.pi * min(1.0, version / max(1, rounds)))) / 2


def _power(factor: float, every: int, version: int, _rounds: int) -> float:
    return float(factor ** (version // every))


def _warmup(versions: int, version: int, _rounds: int) -> float:
    return min(1.0, (version + 1) / (versions + 1))


def _factor(text: str) -> float:
    factor = float(text)
    if not 0 <= factor <= 1:
        raise ValueError(text)
    return factor


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


_PLAIN: dict[str, Schedule] = {"constant": _constant, "linear": _linear, "cosine": _cosine}
