"""What a kind of disturbance is."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaos_federation import Federation

Inflict = Callable[[Federation, random.Random], Iterator[None]]
"""Do it; at each `yield` the federation has to go on; then see whether what must be true is."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of disturbance."""

    name: str
    sentence: str
    """What must be true after, beside what must always be true."""
    inflict: Inflict
    is_possible: Callable[[Federation], bool] = lambda _: True
    is_replayable: bool = True
    """Whether a run with top-k can be followed through it: not where its memory is taken away."""
    is_slow: bool = False
    """Whether it takes longer than half a minute: too long for a short chaos."""


def kind(
    name: str,
    sentence: str,
    *,
    is_possible: Callable[[Federation], bool] = lambda _: True,
    is_slow: bool = False,
) -> Callable[[Inflict], Kind]:
    """Make a kind of what inflicts it."""

    def made(inflict: Inflict) -> Kind:
        return Kind(name, sentence, inflict, is_possible, is_slow=is_slow)

    return made
