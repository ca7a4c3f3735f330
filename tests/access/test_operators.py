"""An operator's login asks `fanfold serve`, and can do nothing else at a real broker."""

from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from nodes import BrokerNode

from fanfold.operating.client import OperatorClient
from fanfold.operating.settings import OperatorSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import REQUEST_KEY, FederationNames
from fanfold.schemas.operator_messages import ReadRuns
from tests.access.enrolled import Place

Channel = pika.adapters.blocking_connection.BlockingChannel
VHOST, FEDERATION = "operators", "ward-9"
ADA, EVE = "ada-ward-9", "eve-ward-9"


@pytest.fixture(scope="module")
def place(broker_node: BrokerNode) -> Iterator[Place]:
    """A federation that a service has opened, with two operators."""
    broker_node.create_vhost(VHOST)
    built = Place(broker_node, VHOST, FEDERATION)
    for login in (ADA, EVE):
        built.credentials[login] = built.enrolment.enroll(login, "operator")
    names = built.names
    with built.connect(built.chief) as connection:
        channel = connection.channel()
        for exchange in (names.requests_exchange, names.answers_exchange):
            channel.exchange_declare(exchange, "direct", durable=True)
        channel.queue_declare(names.operations_queue, durable=True)
        channel.queue_bind(names.operations_queue, names.requests_exchange, REQUEST_KEY)
    yield built
    built.close()
    broker_node.delete_vhost(VHOST)


def test_an_operator_asks_and_hears_the_answer(place: Place) -> None:
    names = place.names
    queue = names.operator_queue(ADA, "0" * 32)
    with place.connect(ADA) as connection, place.connect(place.chief) as service:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, exclusive=True)
        channel.queue_bind(queue, names.answers_exchange, "key")
        channel.basic_publish(names.requests_exchange, REQUEST_KEY, b"asked", mandatory=True)
        serving = service.channel()
        serving.confirm_delivery()
        assert serving.basic_get(names.operations_queue, auto_ack=True)[2] == b"asked"
        serving.basic_publish(names.answers_exchange, "key", b"answered", mandatory=True)
        assert channel.basic_get(queue, auto_ack=True)[2] == b"answered"


FORBIDDEN: dict[str, Callable[[Channel, FederationNames, Place], Any]] = {
    "read what others ask for": lambda c, n, _: c.basic_get(n.operations_queue),
    "answer in the service's name": lambda c, n, _: c.basic_publish(
        n.answers_exchange, "key", b"x"
    ),
    "hear another operator's answers": lambda c, n, _: c.queue_declare(
        n.operator_queue(EVE, "0" * 32), exclusive=True
    ),
    "send an update": lambda c, n, _: c.basic_publish(n.reports_exchange, "update", b"x"),
    "publish parameters": lambda c, n, _: c.basic_publish(n.parameters_exchange, "", b"x"),
    "read a participant's queue": lambda c, n, p: c.basic_get(n.participant_queue(p.alice)),
    "hear the parameters": lambda c, n, _: c.queue_bind(_own(c, n), n.parameters_exchange, ""),
    "take the lock": lambda c, n, _: c.queue_declare(n.coordinator_queue, exclusive=True),
    "take the place of a run": lambda c, _, __: c.queue_declare(
        FederationNames(FEDERATION, run="r1").results_queue
    ),
    "use the default exchange": lambda c, n, _: c.basic_publish("", n.operations_queue, b"x"),
}


def _own(channel: Channel, names: FederationNames) -> str:
    queue = names.operator_queue(ADA, "1" * 32)
    channel.queue_declare(queue, exclusive=True)
    return queue


@pytest.mark.parametrize("operation", FORBIDDEN)
def test_the_broker_refuses_an_operator(operation: str, place: Place) -> None:
    with place.connect(ADA) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="403"):
            FORBIDDEN[operation](channel, place.names, place)


def test_a_participant_that_asks_is_told_that_it_is_no_operator(place: Place) -> None:
    """By the very client that the commands use."""
    settings = OperatorSettings(federation=FEDERATION, broker=(place.url(place.alice),))
    with (
        OperatorClient(settings) as client,
        pytest.raises(InvalidInputError, match=r"no operator .* `fanfold enroll --operator`"),
    ):
        client.ask(lambda ids: ReadRuns(**ids, runs=[]))


def test_a_revoked_operator_is_gone(place: Place) -> None:
    place.credentials["max-ward-9"] = place.enrolment.enroll("max-ward-9", "operator")
    place.enrolment.revoke("max-ward-9")
    with pytest.raises(pika.exceptions.AMQPError):
        place.connect("max-ward-9")
