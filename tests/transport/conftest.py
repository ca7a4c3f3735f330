"""Links to the session's broker, and ways to wait for what happens on them."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from broker_talk import OpenLink

from transport import Inbox, Link


@pytest.fixture(autouse=True, scope="session")
def quiet_pika() -> None:
    """It writes a page for every lost connection; `warren.logs` silences it in the same way."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)


@pytest.fixture
def open_link(broker_url: str) -> Iterator[OpenLink]:
    """Opens links that are closed when the test is over; keyword arguments go to `Link`."""
    with ExitStack() as stack:

        def opened(url: str = broker_url, **options: Any) -> Link:
            defaults = {"name": "test", "heartbeat_seconds": 20, "max_backoff_seconds": 0.3}
            link = stack.enter_context(Link([url], **(defaults | options)))
            link.wait_connected(30)
            return link

        yield opened


@pytest.fixture
def queue() -> str:
    """The name of a queue that does not exist yet."""
    return f"queue-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def link(open_link: OpenLink) -> Link:
    """A link that has a connection, with an inbox of its own."""
    return open_link(inbox=Inbox())
