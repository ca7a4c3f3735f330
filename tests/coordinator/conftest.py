"""A run's folder that can be opened again and again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas.reader_limits import ReaderLimits

LIMITS = ReaderLimits(max_bytes=1 << 20)
Opened = Callable[..., tuple[RunStore, list[str], Any]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A function that opens the folder and returns its store, its events and its checkpoint.

    All stores are closed at the end; closing twice does no harm.
    """
    everything: list[RunStore] = []

    def opened(*, fresh: bool = False) -> tuple[RunStore, list[str], Any]:
        said: list[str] = []
        store = RunStore(tmp_path, LIMITS)
        everything.append(store)
        store.take_epoch()
        checkpoint = store.load(fresh=fresh, say=lambda event: said.append(event.name))
        return store, said, checkpoint

    yield opened
    for store in everything:
        store.close()
