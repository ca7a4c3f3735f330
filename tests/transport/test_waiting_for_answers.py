"""Facts about asking the broker something while nobody takes what arrives."""

import pytest

from fanfold.transport import Connection, EventBuffer, Outgoing

PATIENCE_SECONDS = 60 / 3  # of a delivery that waits for room, with the default heartbeat


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_an_answer_does_not_wait_behind_a_full_event_buffer(
    broker_url: str, federation: str
) -> None:
    """The deliveries before it make room for it: each of them would wait for its whole patience."""
    with Connection([broker_url], name="full", event_buffer=EventBuffer(max_bytes=1)) as connection:
        connection.wait_connected(10)
        connection.declare_queue(federation, arguments={"x-queue-type": "classic"})
        letters = [Outgoing("", federation, b"x" * 100_000, "Letter", str(n)) for n in range(64)]
        connection.publish(letters)
        connection.subscribe(federation, prefetch=64)
        assert connection.declare_queue(f"{federation}-2").num_ready == 0
        connection.delete_queue(f"{federation}-2")
        connection.delete_queue(federation)
