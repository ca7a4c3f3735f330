"""A federation of real processes for each test, forked where torch is loaded already."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_run import Run
from services import Nursery, Services

from fanfold.access.broker_environment import BROKER_VARIABLE


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that all services are forked from."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def run(nursery: Nursery, tmp_path: Path, broker_url: str, federation: str) -> Iterator[Run]:
    """A federation on a fresh vhost; whoever still runs at the end is killed."""
    with Services(nursery, tmp_path, {BROKER_VARIABLE: broker_url}) as services:
        yield Run(services, tmp_path, federation)
