"""Connections to the session's broker, and ways to wait for what happens on them."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from broker_talk import OpenConnection

from fanfold.transport import Connection, EventBuffer


@pytest.fixture(autouse=True, scope="session")
def quiet_pika() -> None:
    """It writes a page for every lost connection; `fanfold.cli.logs` silences it likewise."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)


@pytest.fixture
def open_connection(broker_url: str) -> Iterator[OpenConnection]:
    """Opens connections that are closed after the test; keyword arguments go to `Connection`."""
    with ExitStack() as stack:

        def opened(url: str = broker_url, **options: Any) -> Connection:
            defaults = {"name": "test", "heartbeat_seconds": 20, "max_backoff_seconds": 0.3}
            connection = stack.enter_context(Connection([url], **(defaults | options)))
            connection.wait_connected(30)
            return connection

        yield opened


@pytest.fixture
def queue() -> str:
    """The name of a queue that does not exist yet."""
    return f"queue-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def connection(open_connection: OpenConnection) -> Connection:
    """A connection that is established, with an event buffer of its own."""
    return open_connection(event_buffer=EventBuffer())
