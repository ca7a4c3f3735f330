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
