"""Fixtures that give a test a real broker.

The broker is a private node, started once per session, and each test gets a fresh vhost of it:
nothing is flushed, nothing is shared. `FANFOLD_BROKER_URL` names another broker; the tests that can
use it bear the mark `broker`, and how many did is said at the end, with its version.
"""

import os
import uuid
from collections.abc import Iterator

import pika
import pytest
from hypothesis import HealthCheck, settings
from nodes import BrokerNode
from programs import missing

from fanfold.schemas.errors import InvalidInputError

# Machines are noisy: no example and no strategy fails for its time.
settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")

_GIVEN = os.environ.get("FANFOLD_BROKER_URL")
_ran_on_given: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a broker and no node of its own."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "broker_url" in fixtures and "broker_node" not in fixtures:
            item.add_marker("broker")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran against the broker that was given."""
    if _GIVEN and _ran_on_given:
        with pika.BlockingConnection(pika.URLParameters(_GIVEN)) as connection:
            version = connection._impl.server_properties["version"]
        terminalreporter.write_line(f"{len(_ran_on_given)} tests ran against RabbitMQ {version}")


@pytest.fixture(scope="session")
def broker_node() -> Iterator[BrokerNode]:
    """The session's private RabbitMQ node. A test that kills or freezes it must bring it back."""
    try:
        node = BrokerNode.start(management=True)
    except InvalidInputError as error:
        missing(str(error))
    with node:
        yield node


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The AMQP URL of a fresh vhost, removed afterwards.

    With `FANFOLD_BROKER_URL` it is that very URL: making vhosts takes rights that its user may not
    have. Tests name what they declare by `federation`, so nothing meets there either.
    """
    if _GIVEN:
        _ran_on_given.add(request.node.nodeid)
        yield _GIVEN
        return
    node: BrokerNode = request.getfixturevalue("broker_node")
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    yield node.create_vhost(vhost)
    node.delete_vhost(vhost)


@pytest.fixture
def federation() -> str:
    """A federation name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
