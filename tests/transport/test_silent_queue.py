"""A broker that does not answer about a queue, as a cluster about one whose node has vanished."""

from collections.abc import Callable

import pytest
from nodes import BrokerNode

from schemas.errors import QueueDownError
from transport import Connected, Disconnected, Link, session

ARGUMENTS = {"x-queue-type": "classic"}


def declare(link: Link, queue: str) -> None:
    link.declare_queue(queue, arguments=ARGUMENTS)


def subscribe(link: Link, queue: str) -> None:
    link.subscribe(queue, prefetch=1)


@pytest.mark.parametrize("ask", [declare, subscribe])
def test_who_asks_is_told_and_the_connection_is_made_anew(
    broker_node: BrokerNode,
    monkeypatch: pytest.MonkeyPatch,
    federation: str,
    ask: Callable[[Link, str], None],
) -> None:
    """A question cannot be taken back but with its connection; the next one is asked on another."""
    monkeypatch.setattr(session, "ANSWER_SECONDS", 1.0)
    queue = f"{federation}-{ask.__name__}"
    with Link([broker_node.url], name="asks") as link:
        link.wait_connected(10)
        declare(link, queue)
        broker_node.suspend()
        try:
            with pytest.raises(QueueDownError, match=f"{queue} lies on a broker node that is down"):
                ask(link, queue)
        finally:
            broker_node.wake()
        events = [type(link.inbox.get(30)) for _ in range(3)]
        assert events == [Connected, Disconnected, Connected]

        monkeypatch.undo()
        declare(link, queue)
        link.delete_queue(queue)
