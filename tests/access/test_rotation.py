"""A member's login is replaced by a further one, at a real broker; both are the same member's."""

from collections.abc import Iterator

import pika
import pytest
from nodes import BrokerNode

from fanfold.access.credentials import Role
from fanfold.access.enrolment import Enrolment
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import FederationNames, owner_of
from fanfold.transport import Connection, Delivery
from tests.access.enrolled import KEEPER, KEEPER_LOGIN, Place

CONNECTION_CLOSED = pika.exceptions.AMQPError


@pytest.fixture
def place(broker_node: BrokerNode) -> Iterator[Place]:
    broker_node.create_vhost("rotation")
    built = Place(broker_node, "rotation", "ward-8")
    yield built
    for login in built.credentials:
        if built.enrolment.logins_of(owner_of(login)):
            built.enrolment.revoke(owner_of(login))
    broker_node.delete_vhost("rotation")


def further(place: Place, owner: str, role: Role = "participant", keeper: str = "") -> str:
    """Make a further login, and return its name."""
    login = place.enrolment.next_login(owner, role, keeper=keeper)
    place.credentials[login] = place.enrolment.enroll(login, role, keeper=keeper)
    return login


def take_part(place: Place, login: str) -> bool:
    """Read the queue of alice and report as this login; whether there was something to read."""
    with place.connect(login) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        signed = pika.BasicProperties(user_id=login)
        channel.basic_publish(place.names.reports_exchange, "update", b"u", signed)
        found = channel.basic_get(place.names.participant_queue(place.alice), auto_ack=True)
        return found[2] is not None


def test_both_logins_read_the_same_queue_until_the_earlier_one_is_revoked(place: Place) -> None:
    """What lies in the queue stays there; what the earlier login had open is closed."""
    login = further(place, place.alice)
    assert login == f"{place.alice}.2"
    with place.connect(place.chief) as connection:
        channel = connection.channel()
        channel.queue_declare(place.names.results_queue, durable=True)
        channel.queue_bind(place.names.results_queue, place.names.reports_exchange, "update")
        for _ in range(3):
            channel.basic_publish(place.names.resend_exchange, place.alice, b"parameters")
    assert take_part(place, place.alice)
    assert take_part(place, login)

    open_still = place.connect(place.alice)
    assert place.enrolment.revoke_old(place.alice) == [place.alice, login]
    with pytest.raises(CONNECTION_CLOSED):
        open_still.sleep(30)  # ends as soon as the connection does
    with pytest.raises(CONNECTION_CLOSED):
        place.connect(place.alice)
    take_part(place, login)
    assert further(place, place.alice) == f"{place.alice}.3"


def test_what_both_logins_send_is_one_senders(place: Place) -> None:
    """So an upload that began before the change and ended after it is one upload."""
    login = further(place, place.alice)
    names = place.names
    with Connection([place.url(place.chief)], name="test") as connection:
        connection.wait_connected(30)
        connection.declare_queue(names.results_queue, bindings=[(names.reports_exchange, "update")])
        for each in (place.alice, login):
            take_part(place, each)
        connection.subscribe(names.results_queue, prefetch=2)
        senders = []
        while len(senders) < 2:
            event = connection.event_buffer.get(30)
            assert event is not None
            if isinstance(event, Delivery):
                senders.append(event.user_id)
    assert senders == [place.alice, place.alice]


def test_a_further_login_may_do_nothing_more_than_the_first(place: Place) -> None:
    """Its permissions and limits are the same, and it cannot speak as another login."""
    login = further(place, place.alice)
    for what in (("permissions", place.vhost), ("user-limits",)):
        first, second = (place.management.get(*what, each) for each in (place.alice, login))
        for each in (first, second):
            for part in each if isinstance(each, list) else [each]:
                del part["user"]
        assert first == second
    with place.connect(login) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        forged = pika.BasicProperties(user_id=place.alice)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="406"):
            channel.basic_publish(place.names.reports_exchange, "update", b"u", forged)


def test_to_revoke_removes_every_login(place: Place) -> None:
    """And a member that has several cannot be enrolled as if it had none."""
    login = further(place, place.alice)
    place.enrolment.revoke_old(place.alice)
    with pytest.raises(InvalidInputError, match=f"has a login '{login}' already"):
        place.enrolment.enroll(place.alice)
    further(place, place.alice)
    place.enrolment.revoke(place.alice)
    assert place.enrolment.logins_of(place.alice) == []
    queue = place.names.participant_queue(place.alice)
    assert place.management.get("queues", place.vhost, queue) is None


def test_every_role_can_be_given_another_login(place: Place) -> None:
    """With the role that it has, and no other."""
    assert further(place, place.chief, "coordinator") == f"{place.chief}.2"
    assert further(place, KEEPER_LOGIN, "keeper", KEEPER) == f"{KEEPER_LOGIN}.2"
    ada = "ada-ward-8"
    place.credentials[ada] = place.enrolment.enroll(ada, "operator")
    assert further(place, ada, "operator") == f"{ada}.2"
    with pytest.raises(InvalidInputError, match="is no participant's of the federation 'ward-8'"):
        place.enrolment.next_login(place.chief)
    with pytest.raises(InvalidInputError, match="is no operator's of the federation"):
        place.enrolment.next_login(place.bob, "operator")


def test_what_cannot_be_replaced_is_told(place: Place) -> None:
    """One that is not there, of another federation, or without an earlier one."""
    with pytest.raises(InvalidInputError, match="no login 'zoe' to be replaced; leave out --rotat"):
        place.enrolment.next_login("zoe")
    with pytest.raises(InvalidInputError, match=f"no earlier login of '{place.bob}'"):
        place.enrolment.revoke_old(place.bob)
    elsewhere = Enrolment(place.management, FederationNames("ward-80"), vhost=place.vhost)
    with pytest.raises(InvalidInputError, match="is no participant's of the federation 'ward-80'"):
        elsewhere.next_login(place.bob)


@pytest.mark.parametrize("login", ["anna", "anna.1", "anna.02", "anna.x", "anna.2.3", ".2"])
def test_only_a_number_from_two_on_makes_a_further_login(login: str) -> None:
    assert owner_of(login) == login
    assert owner_of("anna.2") == owner_of("anna.13") == "anna"
