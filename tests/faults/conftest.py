"""A federation of processes for each test, forked from a process that has loaded torch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_run import Run
from services import ForkServer, Services

from fanfold.access.broker_environment import BROKER_VARIABLE


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """The process that all services are forked from."""
    with ForkServer() as fork_server:
        yield fork_server


@pytest.fixture
def run(fork_server: ForkServer, tmp_path: Path, broker_url: str, federation: str) -> Iterator[Run]:
    """A federation on a fresh vhost; processes that still run at the end are killed."""
    with Services(fork_server, tmp_path, {BROKER_VARIABLE: broker_url}) as services:
        yield Run(services, tmp_path, federation)
