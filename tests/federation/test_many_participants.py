"""Facts about two hundred participants on one broker; `make bench-thousand` has a thousand."""

import pytest

from benchmarks.thousand import BACK_SECONDS, DEADLINE, Broker, Restart, back_seconds, crowd
from tests.nodes import BrokerNode

MANY = 200


@pytest.mark.slow
def test_all_of_many_come_back_after_the_broker_was_killed() -> None:
    """Every round has everybody's update, the one that was interrupted, too."""
    with BrokerNode.start() as node:
        everybody_comes_back(node)


def everybody_comes_back(broker: Broker) -> None:
    """Kill a broker in the middle of a run of many, and hold what follows to what is promised."""
    with crowd(broker, MANY, name="many") as (federation, told):
        restart = Restart(broker, after_round=2)
        run = federation.run(5, DEADLINE, closed=restart.closed)
        assert len(run.seconds) == 4  # with everybody, or it would have raised
        assert back_seconds(told) < BACK_SECONDS
        assert 0 < restart.round_seconds < BACK_SECONDS
        joined = [each["participant"] for each in run.events if each["event"].endswith("_joined")]
        assert len(joined) == len(set(joined)) == MANY
