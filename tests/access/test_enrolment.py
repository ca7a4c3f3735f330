"""Enrolment: what a participant's login may do at a real broker, and what it may not."""

import json
import stat
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pika
import pytest
from nodes import BrokerNode

from fanfold.access.credentials import Credentials
from fanfold.access.management import ManagementClient
from fanfold.access.rights import PARTICIPANT_LIMITS
from fanfold.schemas.errors import InvalidInputError, LoginRefusedError
from fanfold.schemas.names import FederationNames
from tests.access.enrolled import Place, with_login

Channel = pika.adapters.blocking_connection.BlockingChannel
CHANNEL_CLOSED, CONNECTION_CLOSED = pika.exceptions.ChannelClosedByBroker, pika.exceptions.AMQPError


@pytest.fixture(scope="module")
def place(broker_node: BrokerNode) -> Iterator[Place]:
    broker_node.create_vhost("enrolment")
    built = Place(broker_node, "enrolment", "ward-7")
    with built.connect(built.chief) as connection:  # what a coordinator declares at its start
        channel = connection.channel()
        for queue in (built.names.results_queue, built.names.events_queue):
            channel.queue_declare(queue, durable=True)
        channel.queue_bind(built.names.results_queue, built.names.reports_exchange, "update")
        channel.queue_bind(built.names.events_queue, built.names.reports_exchange, "event")
    run = FederationNames("ward-7", run="r1")
    with built.connect(built.chief) as connection:  # what a resident coordinator has opened
        channel = connection.channel()
        for exchange in (run.reports_exchange, run.resend_exchange, run.parameters_exchange):
            channel.exchange_declare(exchange, "direct", durable=True)
        channel.exchange_declare(built.names.requests_exchange, "direct", durable=True)
        channel.queue_declare(built.names.operations_queue, durable=True)
        for login in (built.alice, built.bob):
            channel.queue_declare(run.participant_queue(login), durable=True)
        channel.queue_declare(run.results_queue, durable=True)
        channel.queue_bind(run.results_queue, run.reports_exchange, "update")
    yield built
    built.close()
    broker_node.delete_vhost("enrolment")


def signed(login: str) -> pika.BasicProperties:
    return pika.BasicProperties(user_id=login)


def in_run(place: Place) -> FederationNames:
    return FederationNames(place.names.federation, run="r1")


FORBIDDEN: dict[str, Callable[[Channel, Place], Any]] = {
    "read another's queue": lambda c, p: c.basic_get(p.names.participant_queue(p.bob)),
    "consume another's queue": lambda c, p: c.basic_consume(
        p.names.participant_queue(p.bob), lambda *_: None
    ),
    "purge another's queue": lambda c, p: c.queue_purge(p.names.participant_queue(p.bob)),
    "consume the results": lambda c, p: c.basic_consume(p.names.results_queue, lambda *_: None),
    "read the events": lambda c, p: c.basic_get(p.names.events_queue),
    "bind another's queue": lambda c, p: c.queue_bind(
        p.names.participant_queue(p.bob), p.names.reports_exchange, "x"
    ),
    "bind its own queue to the reports": lambda c, p: c.queue_bind(
        p.names.participant_queue(p.alice), p.names.reports_exchange, "update"
    ),
    "bind the parameters to an exchange": lambda c, p: c.exchange_bind(
        p.names.reports_exchange, p.names.parameters_exchange
    ),
    "publish false parameters": lambda c, p: c.basic_publish(
        p.names.parameters_exchange, "", b"x", signed(p.alice)
    ),
    "publish to another's queue": lambda c, p: c.basic_publish(
        "", p.names.participant_queue(p.bob), b"x", signed(p.alice)
    ),
    "resend to another": lambda c, p: c.basic_publish(
        p.names.resend_exchange, p.bob, b"x", signed(p.alice)
    ),
    "publish to the results queue": lambda c, p: c.basic_publish(
        "", p.names.results_queue, b"x", signed(p.alice)
    ),
    "publish as another": lambda c, p: c.basic_publish(
        p.names.reports_exchange, "update", b"x", signed(p.bob)
    ),
    "delete its own queue": lambda c, p: c.queue_delete(p.names.participant_queue(p.alice)),
    "delete another's queue": lambda c, p: c.queue_delete(p.names.participant_queue(p.bob)),
    "delete the results queue": lambda c, p: c.queue_delete(p.names.results_queue),
    "delete an exchange": lambda c, p: c.exchange_delete(p.names.reports_exchange),
    "declare a queue": lambda c, _: c.queue_declare("mine"),
    "declare a server-named queue": lambda c, _: c.queue_declare("", exclusive=True),
    "declare its own queue without bounds": lambda c, p: c.queue_declare(
        p.names.participant_queue(p.alice), durable=True
    ),
    "take the coordinator's lock": lambda c, p: c.queue_declare(
        p.names.coordinator_queue, exclusive=True
    ),
    "declare an exchange": lambda c, _: c.exchange_declare("mine"),
    "read another's queue in a run": lambda c, p: c.basic_get(in_run(p).participant_queue(p.bob)),
    "read the results of a run": lambda c, p: c.basic_get(in_run(p).results_queue),
    "publish false parameters in a run": lambda c, p: c.basic_publish(
        in_run(p).parameters_exchange, "", b"x", signed(p.alice)
    ),
    "take the lock of a run": lambda c, p: c.queue_declare(
        in_run(p).coordinator_queue, exclusive=True
    ),
    "declare its queue in a run": lambda c, p: c.queue_declare(
        FederationNames("ward-7", run="r2").participant_queue(p.alice)
    ),
    "submit a run": lambda c, p: c.basic_publish(
        p.names.requests_exchange, "request", b"x", signed(p.alice)
    ),
    "read what operators ask for": lambda c, p: c.basic_get(p.names.operations_queue),
    "hear an operator's answers": lambda c, p: c.queue_declare(
        p.names.operator_queue(p.alice, "k"), exclusive=True
    ),
    "read a run of another federation": lambda c, p: c.basic_get(
        FederationNames("ward-70", run="r1").participant_queue(p.alice)
    ),
    "read a name that only begins like its own": lambda c, p: c.basic_get(
        p.names.participant_queue(p.alice) + "2"
    ),
}

OPEN: dict[str, Callable[[Channel, Place], Any]] = {
    "passive declare": lambda c, p: c.queue_declare(p.names.results_queue, passive=True),
    "purge its own queue": lambda c, p: c.queue_purge(p.names.participant_queue(p.alice)),
    "publish without user_id": lambda c, p: c.basic_publish(
        p.names.reports_exchange, "event", b"x"
    ),
}
"""What RabbitMQ cannot refuse: docs/security.md names each, and what bounds the harm."""


@pytest.mark.parametrize("operation", FORBIDDEN)
def test_the_broker_refuses(operation: str, place: Place) -> None:
    with place.connect(place.alice) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(CHANNEL_CLOSED) as refusal:
            FORBIDDEN[operation](channel, place)
    assert refusal.value.reply_code in (403, 406), refusal.value
    assert place.management.get("queues", place.vhost, place.names.results_queue) is not None


@pytest.mark.parametrize("operation", OPEN)
def test_what_rabbitmq_cannot_refuse_is_named_in_the_security_page(
    operation: str, place: Place
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    assert operation in page.lower()
    with place.connect(place.alice) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        OPEN[operation](channel, place)


@pytest.mark.parametrize(
    "path",
    ["users", "queues", "connections", "permissions", "definitions", "overview", "whoami"],
)
def test_the_management_api_is_closed_to_a_participant(path: str, place: Place) -> None:
    password = place.credentials[place.alice].password
    assert password is not None
    login = (place.alice, password.get_secret_value())
    answer = httpx.get(f"{place.management.url}/api/{path}", auth=login, timeout=10)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_a_participant_can_do_what_it_is_there_for(place: Place) -> None:
    names = place.names
    with place.connect(place.chief) as connection:
        connection.channel().basic_publish(names.resend_exchange, place.alice, b"parameters")
    with place.connect(place.alice) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(names.reports_exchange, "update", b"u", signed(place.alice))
        assert channel.basic_get(names.participant_queue(place.alice), auto_ack=True)[2]


def test_a_participant_takes_part_in_every_run_of_its_federation(place: Place) -> None:
    """Of those that were opened after it was enrolled, too."""
    names = in_run(place)
    with place.connect(place.chief) as connection:
        channel = connection.channel()
        channel.queue_bind(names.participant_queue(place.alice), names.resend_exchange, place.alice)
        channel.basic_publish(names.resend_exchange, place.alice, b"parameters")
    with place.connect(place.alice) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(names.reports_exchange, "update", b"u", signed(place.alice))
        assert channel.basic_get(names.participant_queue(place.alice), auto_ack=True)[2]


def test_connections_of_one_login_are_bounded(place: Place) -> None:
    held: list[pika.BlockingConnection] = []

    most = PARTICIPANT_LIMITS["max-connections"]

    def open_more() -> None:
        for _ in range(most + 5):
            held.append(place.connect(place.bob))
            held[-1].channel()

    with pytest.raises(CONNECTION_CLOSED):
        open_more()
    assert most - 2 <= len(held) <= most + 1
    for connection in held:
        if connection.is_open:
            connection.close()


def test_a_coordinator_can_do_nothing_outside_its_federation(place: Place) -> None:
    with place.connect(place.chief) as connection, pytest.raises(CHANNEL_CLOSED, match="403"):
        connection.channel().queue_declare("ward-70.participant.eve")


def test_revoking_ends_connections_and_removes_login_and_queue(place: Place) -> None:
    carol = "carol-revoked"
    place.credentials[carol] = place.enrolment.enroll(carol)
    in_a_run = in_run(place).participant_queue(carol)
    with place.connect(place.chief) as chief:
        chief.channel().queue_declare(in_a_run, durable=True)
    connection = place.connect(carol)
    place.enrolment.revoke(carol)
    with pytest.raises(CONNECTION_CLOSED):
        connection.sleep(30)  # ends as soon as the connection does
    with pytest.raises(CONNECTION_CLOSED):
        place.connect(carol)
    for queue in (place.names.participant_queue(carol), in_a_run):
        assert place.management.get("queues", place.vhost, queue) is None
    bobs = in_run(place).participant_queue(place.bob)
    assert place.management.get("queues", place.vhost, bobs) is not None


def test_a_login_that_is_not_ours_is_neither_replaced_nor_removed(place: Place) -> None:
    with pytest.raises(InvalidInputError, match="not made by `fanfold enroll`; choose another id"):
        place.enrolment.enroll(place.node.user)
    with pytest.raises(InvalidInputError, match="not made by `fanfold enroll`"):
        place.enrolment.revoke(place.node.user)


def test_a_wrong_administrator_is_told_so(place: Place) -> None:
    management = ManagementClient(with_login(place.node, f"admin:{quote('wr/ong', safe='')}"))
    with pytest.raises(LoginRefusedError, match="refuses the login") as refusal:
        management.get("overview")
    assert "wr/ong" not in str(refusal.value)


def test_the_credentials_file_is_the_owners_alone_and_says_who_we_are(
    place: Place, tmp_path: Path
) -> None:
    credentials = place.credentials[place.alice]
    assert credentials.password is not None
    path = tmp_path / "alice.json"
    credentials.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.password.get_secret_value() not in repr(credentials)
    options = Credentials.read(path).options({"once": True, "id": None})
    assert options["id"] == place.alice
    assert options["once"] is True
    assert credentials.password.get_secret_value() in options["broker"][0]
    with pytest.raises(InvalidInputError, match="contradicts"):
        Credentials.read(path).options({"id": "mallory"})


def test_a_damaged_credentials_file_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps({"role": "participant", "password": "hush"}))
    with pytest.raises(InvalidInputError, match="wrong or missing: brokers") as refusal:
        Credentials.read(path)
    assert "hush" not in str(refusal.value)
