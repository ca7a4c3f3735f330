"""A folder of books that can be opened again and again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.books import Books
from schemas.limits import Limits

LIMITS = Limits(max_bytes=1 << 20)
Opened = Callable[..., tuple[Books, list[str], Any]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A function that opens the folder's books: with an epoch, what they said, and what was there.

    All are closed at the end; closing twice does no harm.
    """
    everything: list[Books] = []

    def opened(*, fresh: bool = False) -> tuple[Books, list[str], Any]:
        said: list[str] = []
        books = Books(tmp_path, LIMITS)
        everything.append(books)
        books.take_epoch()
        checkpoint = books.load(fresh=fresh, say=lambda event, _fields: said.append(event))
        return books, said, checkpoint

    yield opened
    for books in everything:
        books.close()
