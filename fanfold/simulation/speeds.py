"""How slow simulated participants are, each compared with the median one."""

import math
import random
from collections.abc import Callable

from fanfold.schemas.errors import InvalidInputError

Draw = Callable[[int, random.Random], float]
"""From a participant's index and a generator: how many times slower than the median it is."""


def slowness(spec: str, num_participants: int, seed: int) -> list[float]:
    """Return for each participant how many times longer than the median it trains.

    - `constant`: 1 for all
    - `uniform:A:B`: evenly between A and B
    - `lognormal:S`: exp(x) with x normal around 0 with deviation S; the median is 1
    - `every:N:F`: every N-th participant F, the others 1
    - several of these joined by `+`: their product

    Example:
        >>> slowness("every:3:10", 6, seed=0)
        [1.0, 1.0, 10.0, 1.0, 1.0, 10.0]

    Raises:
        InvalidInputError: if the text is none of these.
    """
    generator = random.Random(f"{seed}/speeds")
    draws = [_parse(part, spec) for part in spec.split("+")]
    return [
        math.prod(draw(index, generator) for draw in draws) for index in range(num_participants)
    ]


def _parse(part: str, spec: str) -> Draw:
    name, *arguments = part.split(":")
    try:
        numbers = [float(argument) for argument in arguments]
    except ValueError:
        raise _unknown(spec) from None
    if not all(number >= 0 and math.isfinite(number) for number in numbers):
        raise _unknown(spec)
    match name, numbers:
        case "constant", []:
            return lambda _index, _generator: 1.0
        case "uniform", [low, high] if 0 < low <= high:
            return lambda _index, generator: generator.uniform(low, high)
        case "lognormal", [deviation]:
            return lambda _index, generator: generator.lognormvariate(0.0, deviation)
        case "every", [step, factor] if step >= 1 and step.is_integer() and factor > 0:
            return lambda index, _generator: factor if (index + 1) % step == 0 else 1.0
        case _:
            raise _unknown(spec)


def _unknown(spec: str) -> InvalidInputError:
    return InvalidInputError(
        f"--speeds {spec!r} is not understood; use constant, uniform:A:B, lognormal:S, every:N:F, "
        "or several joined by +, for example lognormal:0.25+every:10:10"
    )
