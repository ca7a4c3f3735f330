"""Facts about asking the broker something while nobody takes what arrives."""

import pytest

from transport import Inbox, Link, Outgoing

PATIENCE_SECONDS = 60 / 3  # of a delivery that waits for room, with the default heartbeat


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_an_answer_does_not_wait_behind_a_full_inbox(broker_url: str, federation: str) -> None:
    """The deliveries before it make room for it: each of them would wait for its whole patience."""
    with Link([broker_url], name="full", inbox=Inbox(max_bytes=1)) as link:
        link.wait_connected(10)
        link.declare_queue(federation, arguments={"x-queue-type": "classic"})
        letters = [Outgoing("", federation, b"x" * 100_000, "Letter", str(n)) for n in range(64)]
        link.publish(letters)
        link.subscribe(federation, prefetch=64)
        assert link.declare_queue(f"{federation}-2").num_ready == 0
        link.delete_queue(f"{federation}-2")
        link.delete_queue(federation)
