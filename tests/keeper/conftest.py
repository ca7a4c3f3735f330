"""Federations whose keepers are closed at the end of a test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keeper_trials import Federation


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Callable[[int], Federation]]:
    """A function that returns a federation with so many keepers."""
    made: list[Federation] = []

    def make(num_keepers: int) -> Federation:
        made.append(Federation(tmp_path, num_keepers))
        return made[-1]

    yield make
    for each in made:
        each.close()


def clear_sum(made: Federation, names: Sequence[str]) -> Words:
    return np.sum([made.sent[name, 3][0] for name in names], axis=0, dtype=np.uint32)


def masked_sum(made: Federation, names: Sequence[str]) -> Words:
    return np.sum([made.sent[name, 3][1] for name in names], axis=0, dtype=np.uint32)
