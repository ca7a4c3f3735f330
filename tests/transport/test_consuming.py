"""Deliveries come in order, and are acknowledged from any thread, or too late."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
from broker_talk import OpenConnection, eventually, expect, letter

from fanfold.schemas.errors import ConnectionLostError, RefusedByBrokerError
from fanfold.transport import Connection, Delivery, EventBuffer, SubscriptionLost


def test_what_is_published_arrives_as_it_was_sent(connection: Connection, queue: str) -> None:
    """Body, kind, id, headers and the sender's login; nothing else is added or lost."""
    connection.declare_queue(queue)
    connection.subscribe(queue, prefetch=10)
    connection.publish([letter(queue, 7, bytes(range(256)), headers={"version": 3, "run": "r"})])

    delivery = expect(connection.event_buffer, Delivery)

    assert delivery.body == bytes(range(256))
    assert (delivery.kind, delivery.message_id) == ("Letter", f"{queue}/7")
    assert delivery.headers == {"version": 3, "run": "r"}
    assert delivery.user_id == connection.login
    assert not delivery.redelivered


def test_acknowledgements_of_several_threads_all_arrive(connection: Connection, queue: str) -> None:
    """Eight threads acknowledge 800 deliveries one by one: none comes again."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=1000)
    connection.publish([letter(queue, n) for n in range(800)])
    deliveries = [expect(connection.event_buffer, Delivery) for _ in range(800)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(connection.acknowledge, deliveries))
    connection.unsubscribe(subscription)

    assert [int(each.message_id.rpartition("/")[2]) for each in deliveries] == list(range(800))
    assert connection.declare_queue(queue).num_ready == 0


def test_a_subscription_is_widened_and_nothing_comes_twice(
    connection: Connection, queue: str
) -> None:
    """One at a time at first, then three beside the one that is held; the last waits its turn."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=1, exclusive=True)
    connection.publish([letter(queue, n) for n in range(5)])
    first = expect(connection.event_buffer, Delivery)
    connection.widen(subscription, 3)
    more = [expect(connection.event_buffer, Delivery) for _ in range(3)]

    assert connection.declare_queue(queue).num_ready == 1
    assert [each.message_id for each in (first, *more)] == [f"{queue}/{n}" for n in range(4)]
    assert not any(each.redelivered for each in (first, *more))
    assert {each.subscription for each in more} == {subscription}

    connection.acknowledge(more[0])
    assert expect(connection.event_buffer, Delivery).message_id == f"{queue}/4"
    connection.unsubscribe(subscription)
    assert connection.declare_queue(queue).num_ready == 4


def test_a_subscription_whose_queue_was_taken_meanwhile_ends(
    connection: Connection, queue: str, open_connection: OpenConnection
) -> None:
    """While nobody consumes, another may come first; the refusal says so, and all is given back."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=1, exclusive=True)
    connection.publish([letter(queue)])
    expect(connection.event_buffer, Delivery)
    other = open_connection(event_buffer=EventBuffer())
    consumer = connection._session.subscriptions._subscriptions[subscription]
    consume = consumer._consume

    def too_late() -> None:
        taking = Thread(target=other.subscribe, args=(queue,), kwargs={"prefetch": 1})
        taking.start()
        taking.join()
        consume()

    consumer._consume = too_late
    with pytest.raises(RefusedByBrokerError, match="exclusive"):
        connection.widen(subscription, 3)
    assert not connection.is_subscribed(subscription)
    assert expect(other.event_buffer, Delivery).redelivered


def test_a_subscription_that_has_ended_is_not_widened(connection: Connection, queue: str) -> None:
    """Its deliveries are the broker's again: whoever asked starts over."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=1)
    connection.unsubscribe(subscription)
    with pytest.raises(ConnectionLostError, match="the subscription has ended"):
        connection.widen(subscription, 3)


def test_unsubscribing_gives_back_what_is_not_acknowledged(
    connection: Connection, queue: str
) -> None:
    """Three delivered, two acknowledged together: the third comes again, marked."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=10)
    connection.publish([letter(queue, n) for n in range(3)])
    deliveries = [expect(connection.event_buffer, Delivery) for _ in range(3)]
    connection.acknowledge(deliveries[1], multiple=True)
    connection.unsubscribe(subscription)

    connection.subscribe(queue, prefetch=10)
    again = expect(connection.event_buffer, Delivery)

    assert again.message_id == f"{queue}/2"
    assert again.redelivered


def test_a_late_acknowledgement_is_dropped_with_one_warning(
    connection: Connection, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Tags die with their channel: two late ones, one line, and the connection lives on."""
    connection.declare_queue(queue)
    subscription = connection.subscribe(queue, prefetch=10)
    connection.publish([letter(queue, n) for n in range(2)])
    late = [expect(connection.event_buffer, Delivery) for _ in range(2)]
    connection.unsubscribe(subscription)

    with caplog.at_level(logging.WARNING, "transport"):
        for delivery in late:
            connection.acknowledge(delivery)
        eventually(lambda: caplog.records)
        # Goes through the same thread, so both were looked at.
        state = connection.declare_queue(queue)

    assert [record.message for record in caplog.records if "too late" in record.message]
    assert len(caplog.records) == 1
    assert state.num_ready == 2


def test_a_deleted_queue_ends_the_subscription_and_nothing_else(
    connection: Connection, queue: str
) -> None:
    """The consumer hears of it; connection and other subscriptions go on."""
    other = f"{queue}-other"
    for name in (queue, other):
        connection.declare_queue(name)
    lost, kept = (connection.subscribe(name, prefetch=1) for name in (queue, other))
    connection.delete_queue(queue)

    event = expect(connection.event_buffer, SubscriptionLost)
    connection.publish([letter(other)])

    assert event.subscription is lost
    assert event.code == 404
    assert expect(connection.event_buffer, Delivery).subscription is kept


def test_an_unknown_queue_is_refused_with_404(connection: Connection, queue: str) -> None:
    """The channel of that subscription is gone, the connection is not."""
    with pytest.raises(RefusedByBrokerError, match=r"404.*no queue") as refusal:
        connection.subscribe(queue, prefetch=1)
    assert refusal.value.code == 404
    connection.declare_queue(queue)
    connection.subscribe(queue, prefetch=1)


def test_a_second_exclusive_consumer_is_refused_with_403(
    connection: Connection, queue: str
) -> None:
    """This is how a second participant with the same id learns of the first."""
    connection.declare_queue(queue)
    first = connection.subscribe(queue, prefetch=1, exclusive=True)

    with pytest.raises(RefusedByBrokerError, match="403") as refusal:
        connection.subscribe(queue, prefetch=1, exclusive=True)
    assert refusal.value.code == 403

    connection.unsubscribe(first)
    connection.subscribe(queue, prefetch=1, exclusive=True)


def test_prefetch_bounds_what_is_unacknowledged(connection: Connection, queue: str) -> None:
    """The third delivery waits in the queue until one of two is acknowledged."""
    connection.declare_queue(queue)
    connection.subscribe(queue, prefetch=2)
    connection.publish([letter(queue, n) for n in range(3)])
    first, _ = (expect(connection.event_buffer, Delivery) for _ in range(2))

    assert connection.declare_queue(queue).num_ready == 1
    connection.acknowledge(first)
    assert expect(connection.event_buffer, Delivery).message_id == f"{queue}/2"
