"""Getting a connection: whom to blame when there is none, and never a password in the blame."""

import random
import socket
import time
from collections.abc import Callable

import pytest
from broker_talk import OpenConnection

from fanfold.schemas.errors import (
    BrokerUnreachableError,
    ConnectionClosedError,
    InvalidInputError,
    LoginRefusedError,
)
from fanfold.transport import Connected, Connection, EventBuffer, safe_url
from fanfold.transport.addresses import Access, Address
from fanfold.transport.backoff import Backoff


@pytest.fixture
def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def refused(url: str, error: type[Exception], match: str) -> None:
    """Connecting ends with that error, in time, and says no password."""
    with Connection([url], name="test", max_backoff_seconds=0.2) as connection:
        start = time.monotonic()
        with pytest.raises(error, match=match) as refusal:
            connection.wait_connected(20 if error is LoginRefusedError else 1.0)
        assert time.monotonic() - start < 15
        assert (
            "wrong-secret"
            not in f"{refusal.value!r} {connection!r} {connection.url_without_password}"
        )


def test_a_wrong_password_ends_the_connection_in_words(broker_url: str) -> None:
    """After three tries, not never, and the connection answers so from then on."""
    address = Address.parse(broker_url)
    host = f"{address.host}:{address.port}"
    refused(
        f"amqp://nobody:wrong-secret@{host}",
        LoginRefusedError,
        f"amqp://nobody@{host}: the broker refuses this login, or its password",
    )


def test_looking_for_a_broker_draws_nothing_that_a_seeded_training_would(free_port: int) -> None:
    """The generator of the module `random` belongs to whoever seeded it."""
    before = random.getstate()
    refused(f"amqp://127.0.0.1:{free_port}", BrokerUnreachableError, "no broker answered")
    assert random.getstate() == before


def test_an_unknown_vhost_ends_the_connection_in_words(broker_url: str) -> None:
    """The broker says which one it does not know."""
    known = broker_url if broker_url.count("/") == 2 else broker_url.rpartition("/")[0]
    refused(
        f"{known}/no-such-vhost",
        LoginRefusedError,
        "let this login in: NOT_ALLOWED - vhost no-such-vhost not found$",
    )


def test_nothing_listening_names_host_and_port(free_port: int) -> None:
    """The error comes when the time given is over."""
    url = f"amqp://me:wrong-secret@127.0.0.1:{free_port}"
    refused(url, BrokerUnreachableError, f"within 1 s at amqp://me@127.0.0.1:{free_port}.*refused")


def test_an_unknown_host_is_named() -> None:
    """Resolving a name happens outside the I/O thread and fails with the system's words."""
    url = "amqp://me:wrong-secret@no-such-host.invalid"
    refused(url, BrokerUnreachableError, "me@no-such-host.invalid:5672")


def test_a_port_that_is_no_broker_is_unreachable(free_port: int) -> None:
    """Whoever hangs up on us at once is no broker, and no refused login either."""
    with socket.create_server(("127.0.0.1", free_port)) as server:
        server.settimeout(10)
        with Connection([f"amqp://127.0.0.1:{free_port}"], name="test") as connection:
            server.accept()[0].close()
            with pytest.raises(BrokerUnreachableError, match=f":{free_port}"):
                connection.wait_connected(0.5)


def test_one_living_broker_of_several_is_enough(broker_url: str, free_port: int) -> None:
    """Whichever comes first in the shuffled list; the connection says where it is."""
    event_buffer = EventBuffer()
    dead = f"amqp://127.0.0.1:{free_port}"
    with Connection(
        [dead, dead, broker_url, dead], name="test", event_buffer=event_buffer
    ) as connection:
        connection.wait_connected(30)
        assert connection.url_without_password == safe_url(broker_url)
        assert connection.login == Address.parse(broker_url).login
        event = event_buffer.get(1)
        assert isinstance(event, Connected)
        assert event.connection is connection.id


def test_the_way_to_the_broker_is_looked_up_before_every_further_attempt(
    broker_url: str, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be used is told and changes nothing; what can be used is taken at once."""
    answers: list[Access | InvalidInputError] = [
        Access((Address.parse(broker_url),), None),
        InvalidInputError("the file is half written"),
    ]

    def access() -> Access:
        answer = answers.pop()
        if isinstance(answer, InvalidInputError):
            raise answer
        return answer

    dead = f"amqp://127.0.0.1:{free_port}"
    with Connection([dead], name="test", access_anew=access) as connection:
        connection.wait_connected(30)
        assert connection.url_without_password == safe_url(broker_url)
        assert connection.logins == {Address.parse(broker_url).login}
    assert "with the credentials of before: the file is half written" in caplog.text
    assert answers == []


def test_a_connection_without_an_address_says_how_to_give_one() -> None:
    """The option and the variable."""
    with pytest.raises(InvalidInputError, match="--broker or FANFOLD_BROKER_URL"):
        Connection([], name="test")


@pytest.mark.parametrize(
    "act",
    [
        lambda connection: connection.declare_queue("q"),
        lambda connection: connection.publish([]),
        lambda connection: connection.wait_connected(1),
        lambda connection: connection.subscribe("q", prefetch=1),
    ],
    ids=["declare", "publish", "wait", "subscribe"],
)
def test_a_closed_connection_says_so(broker_url: str, act: Callable[[Connection], object]) -> None:
    """Closing twice is fine, using it afterwards is not."""
    with Connection([broker_url], name="closed") as connection:
        connection.wait_connected(30)
    connection.close()
    with pytest.raises(ConnectionClosedError, match="'closed' is closed"):
        act(connection)


def test_a_connection_that_never_started_can_be_closed() -> None:
    """And leaves no socket behind (pytest would complain)."""
    connection = Connection(["amqp://127.0.0.1:1"], name="test")
    connection.close()
    connection.close()


def test_closing_interrupts_a_handshake(free_port: int) -> None:
    """A broker that accepts and then says nothing does not hold us."""
    with (
        socket.create_server(("127.0.0.1", free_port)) as server,
        Connection([f"amqp://127.0.0.1:{free_port}"], name="test") as connection,
    ):
        accepted, _ = server.accept()
        start = time.monotonic()
        connection.close()
        assert time.monotonic() - start < 4
        accepted.close()


def test_pauses_grow_to_the_maximum_and_are_spread() -> None:
    """Each is twice the one before; the draw takes away at most half."""
    backoff = Backoff(0.5, 60)
    assert [backoff.seconds(failures) for failures in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 32, 60]
    assert backoff.seconds(10_000) == 60
    assert backoff.seconds(4, 0.0) == 2


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("amqp://localhost", "amqp://guest@localhost:5672"),
        ("amqp://me:wrong-secret@broker.example", "amqp://me@broker.example:5672"),
        ("amqps://me:p%40ss@broker.example/a%2Fb", "amqps://me@broker.example:5671/a%2Fb"),
        ("amqp://a%40b:x@[::1]:1234/v", "amqp://a%40b@[::1]:1234/v"),
    ],
)
def test_a_safe_url_has_everything_but_the_password(url: str, safe: str) -> None:
    """It can be connected to again, given the password."""
    assert safe_url(url) == safe
    assert safe_url(safe) == safe


def test_an_address_decodes_what_a_url_must_quote() -> None:
    """Login, password and vhost; the representation hides the password."""
    address = Address.parse("amqps://a%40b:p%2Fw@h:1/%2Fx")
    assert (address.login, address.password, address.vhost) == ("a@b", "p/w", "/x")
    assert "p/w" not in repr(address)


@pytest.mark.parametrize(
    "url",
    ["http://me:wrong-secret@h", "localhost:5672", "amqp://", "amqp://h:port", "amqp://h/v?x=1"],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    """A mistyped URL still holds a password."""
    with pytest.raises(InvalidInputError, match="must look like amqp://") as refusal:
        safe_url(url)
    assert "wrong-secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_heartbeat_in_the_address_is_obeyed(
    open_connection: OpenConnection, broker_url: str
) -> None:
    """As pika writes it; it goes before the option's, and is no part of the address we tell."""
    url = f"{broker_url}?heartbeat=7"
    connection = open_connection(url, heartbeat_seconds=20)
    accepted = connection._session._reconnector._connection
    assert accepted is not None
    assert accepted.params.heartbeat == 7
    assert connection.heartbeat_seconds == 7
    assert connection.url_without_password == safe_url(broker_url)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("heartbeat=0", "heartbeat in the broker's address must be 1 to 65535 seconds"),
        ("heartbeat=soon", "heartbeat in the broker's address must be 1 to 65535 seconds"),
        ("connection_attempts=3", "cannot say connection_attempts; .* use --connect-seconds"),
        ("heartbeat=9&frame_max=4096", "cannot say frame_max; leave it out"),
        ("wrong-secret@h", "must look like amqp://"),
    ],
)
def test_what_else_stands_in_an_address_is_named(query: str, words: str) -> None:
    """And never what could be the end of a password."""
    with pytest.raises(InvalidInputError, match=words) as refusal:
        safe_url(f"amqp://h?{query}")
    assert "wrong-secret" not in str(refusal.value)
