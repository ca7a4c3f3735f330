"""What a keeper's login may do at a real broker, and what it may not."""

from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from nodes import BrokerNode

from fanfold.schemas.names import keeper_key
from tests.access.enrolled import KEEPER, KEEPER_LOGIN, Place

Channel = pika.adapters.blocking_connection.BlockingChannel
VHOST = "keepers"
SIGNED = pika.BasicProperties(user_id=KEEPER_LOGIN)


@pytest.fixture(scope="module")
def place(broker_node: BrokerNode) -> Iterator[Place]:
    broker_node.create_vhost(VHOST)
    built = Place(broker_node, VHOST, "ward-11")
    yield built
    built.close()
    broker_node.delete_vhost(VHOST)


FORBIDDEN_TO_KEEPERS: dict[str, Callable[[Channel, Place], Any]] = {
    "read the requests to another keeper": lambda c, p: c.basic_get(p.names.keeper_queue("0" * 16)),
    "read a participant's queue": lambda c, p: c.basic_get(p.names.participant_queue(p.bob)),
    "read updates": lambda c, p: c.basic_get(p.names.results_queue),
    "read the answers of keepers": lambda c, p: c.basic_get(p.names.masks_queue),
    "publish false parameters": lambda c, p: c.basic_publish(
        p.names.parameters_exchange, "", b"x", SIGNED
    ),
    "ask another keeper": lambda c, p: c.basic_publish(
        p.names.resend_exchange,
        keeper_key("0" * 16),
        b"x",
        SIGNED,
    ),
    "answer in another's name": lambda c, p: c.basic_publish(
        p.names.reports_exchange, "masks", b"x", pika.BasicProperties(user_id=p.bob)
    ),
    "declare a queue": lambda c, _: c.queue_declare("mine"),
    "delete its own queue": lambda c, p: c.queue_delete(p.names.keeper_queue(KEEPER)),
    "bind its own queue to the reports": lambda c, p: c.queue_bind(
        p.names.keeper_queue(KEEPER), p.names.reports_exchange, "update"
    ),
}


@pytest.mark.parametrize("operation", FORBIDDEN_TO_KEEPERS)
def test_the_broker_refuses_keepers(operation: str, place: Place) -> None:
    with place.connect(KEEPER_LOGIN) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
            FORBIDDEN_TO_KEEPERS[operation](channel, place)
    assert refusal.value.reply_code in (403, 406)


def test_a_keeper_reads_its_requests_and_answers(place: Place) -> None:
    names = place.names
    queue, masks = names.keeper_queue(KEEPER), names.masks_queue
    with place.connect(place.chief) as chief, place.connect(KEEPER_LOGIN) as keeper:
        for name, exchange, key in (
            (queue, names.resend_exchange, keeper_key(KEEPER)),
            (masks, names.reports_exchange, "masks"),
        ):
            chief.channel().queue_declare(name, durable=True)
            chief.channel().queue_bind(name, exchange, key)
        chief.channel().basic_publish(names.resend_exchange, keeper_key(KEEPER), b"request")
        channel = keeper.channel()
        channel.confirm_delivery()
        asked: list[bytes] = []
        channel.basic_consume(
            queue, lambda *parts: asked.append(parts[-1]), auto_ack=True, exclusive=True
        )
        channel.basic_publish(names.reports_exchange, "masks", b"a", SIGNED)
        while not asked:
            keeper.process_data_events(1)
        assert chief.channel().basic_get(masks, auto_ack=True)[2] == b"a"
