"""A broker that does not answer about a queue, as a cluster about one whose node has vanished."""

from collections.abc import Callable

import pytest
from nodes import BrokerNode

from fanfold.schemas.errors import QueueDownError
from fanfold.transport import Connected, Connection, Disconnected
from fanfold.transport.io import session

ARGUMENTS = {"x-queue-type": "classic"}


def declare(connection: Connection, queue: str) -> None:
    connection.declare_queue(queue, arguments=ARGUMENTS)


def subscribe(connection: Connection, queue: str) -> None:
    connection.subscribe(queue, prefetch=1)


@pytest.mark.parametrize("ask", [declare, subscribe])
def test_who_asks_is_told_and_the_connection_is_made_anew(
    broker_node: BrokerNode,
    monkeypatch: pytest.MonkeyPatch,
    federation: str,
    ask: Callable[[Connection, str], None],
) -> None:
    """A question cannot be taken back but with its connection; the next one is asked on another."""
    monkeypatch.setattr(session, "ANSWER_SECONDS", 1.0)
    queue = f"{federation}-{ask.__name__}"
    with Connection([broker_node.url], name="asks") as connection:
        connection.wait_connected(10)
        declare(connection, queue)
        broker_node.suspend()
        try:
            with pytest.raises(QueueDownError, match=f"{queue} lies on a broker node that is down"):
                ask(connection, queue)
        finally:
            broker_node.wake()
        events = [type(connection.event_buffer.get(30)) for _ in range(3)]
        assert events == [Connected, Disconnected, Connected]

        monkeypatch.undo()
        declare(connection, queue)
        connection.delete_queue(queue)
