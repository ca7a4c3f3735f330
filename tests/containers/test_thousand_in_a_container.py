"""Two hundred participants of a broker in a container; `make bench-thousand` has a thousand."""

import pytest

from benchmarks.broker_container import BrokerContainer
from tests.containers.conftest import BASE_IMAGES
from tests.federation.test_many_participants import everybody_comes_back


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_of_many_come_back_after_their_brokers_container_was_killed() -> None:
    """On RabbitMQ 4, whose data outlives its process as those of a private node do."""
    with BrokerContainer(BASE_IMAGES[0]) as broker:
        everybody_comes_back(broker)
