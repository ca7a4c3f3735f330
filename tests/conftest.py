"""Fixtures that give a test a real broker.

The broker is a private node, started once per session, and each test gets a fresh vhost of it:
nothing is flushed, nothing is shared. `WARREN_BROKER_URL` names another broker.
"""

import os
import uuid
from collections.abc import Iterator

import pytest

from schemas.errors import InvalidInputError
from warren.broker_node import BrokerNode


@pytest.fixture(scope="session")
def broker_node() -> Iterator[BrokerNode]:
    """The session's private RabbitMQ node. A test that kills or freezes it must bring it back."""
    try:
        node = BrokerNode.start(management=True)
    except InvalidInputError as error:
        if os.environ.get("CI"):
            pytest.fail(f"these tests may not be skipped in CI: {error}")
        pytest.skip(str(error))
    with node:
        yield node


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The AMQP URL of a fresh vhost, removed afterwards.

    With `WARREN_BROKER_URL` it is that very URL: making vhosts takes rights that its user may not
    have. Tests name what they declare by `federation`, so nothing meets there either.
    """
    given = os.environ.get("WARREN_BROKER_URL")
    if given:
        yield given
        return
    node: BrokerNode = request.getfixturevalue("broker_node")
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    yield node.create_vhost(vhost)
    node.delete_vhost(vhost)


@pytest.fixture
def federation() -> str:
    """A federation name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
