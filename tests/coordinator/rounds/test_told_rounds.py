"""Facts about when people are told of a round."""

import threading
from pathlib import Path

from tests.coordinator.fake_broker import FakeBroker

WAIT_SECONDS = 5.0
"""A version that goes out after its round is told never goes out within them."""


def test_a_version_goes_out_while_its_round_is_told(tmp_path: Path) -> None:
    """Participants do not wait for what people read; the last round has no version to send."""
    broker = FakeBroker(tmp_path)
    broker.hello("ann")
    sent = [threading.Event() for _ in range(3)]
    was_sent: list[bool] = []

    def on_version(version: int) -> None:
        sent[version].set()
        broker.update("ann", version)

    def on_said(event: str) -> None:
        number = len(was_sent) + 1
        if event == "round_closed" and number < len(sent):
            was_sent.append(sent[number].wait(WAIT_SECONDS))

    broker.on_version = on_version
    broker.on_said = on_said
    assert broker.run(rounds=3, evaluate_every=3).is_finished
    assert was_sent == [True, True]
    assert [each["round"] for each in broker.all("round_closed")] == [1, 2, 3]
