"""TLS with a real broker: trusted and verified, or refused in one clear sentence."""

import os
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from nodes import BrokerNode

from fanfold.access.certificates import Authority
from fanfold.monitoring.status.settings import StatusSettings
from fanfold.monitoring.status.watch import watch
from fanfold.participant.replica_lease import ReplicaLease
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import BrokerUnreachableError, InsecureBrokerError, InvalidInputError
from fanfold.transport import (
    Connection,
    Outgoing,
    Pace,
    Paces,
    Tls,
    client_context,
    connection_tls,
    tls_of,
)
from fanfold.transport.addresses import Address
from fanfold.transport.events import Delivery


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.in_folder(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def node(authority: Authority) -> Iterator[BrokerNode]:
    """A node that listens for TLS, for the host name `localhost` alone."""
    authority.issue_server(["localhost"])
    with BrokerNode.start(tls=authority.folder) as started:
        yield started


@pytest.fixture(scope="module")
def trusted(authority: Authority) -> ssl.SSLContext:
    return client_context(ca_file=authority.folder / "ca.pem")


def url(node: BrokerNode, *, host: str = "localhost", scheme: str = "amqps") -> str:
    return f"{scheme}://{node.user}:{node.password}@{host}:{node.tls_port}"


def connect(address: str, context: ssl.SSLContext | None, seconds: float = 15) -> None:
    tls = None if context is None else Tls(context)
    with Connection([address], name="tls", tls=tls) as connection:
        connection.wait_connected(seconds)


def test_a_trusted_broker_is_connected_to(node: BrokerNode, trusted: ssl.SSLContext) -> None:
    connect(url(node), trusted)


def test_a_broker_of_another_ca_is_refused(node: BrokerNode, tmp_path: Path) -> None:
    stranger = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    with pytest.raises(InsecureBrokerError, match=r"certificate is refused: .*--ca-file"):
        connect(url(node), client_context(ca_file=stranger))


@pytest.mark.slow
def test_the_systems_cas_do_not_know_a_private_one(node: BrokerNode) -> None:
    with pytest.raises(InsecureBrokerError, match="certificate is refused"):
        connect(url(node), None)


def test_a_certificate_for_another_host_is_refused(
    node: BrokerNode, trusted: ssl.SSLContext
) -> None:
    with pytest.raises(InsecureBrokerError, match=r"not valid for '127\.0\.0\.1'"):
        connect(url(node, host="127.0.0.1"), trusted)


@pytest.mark.slow
def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    expired = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    expired.private_key_pem.write_to_path(tmp_path / "server-key.pem")
    expired.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    with (
        BrokerNode.start(tls=tmp_path) as node,
        pytest.raises(InsecureBrokerError, match="certificate has expired"),
    ):
        connect(url(node), client_context(ca_file=tmp_path / "ca.pem"))


def test_plain_text_to_the_tls_port_is_told_apart(node: BrokerNode) -> None:
    with pytest.raises(BrokerUnreachableError, match="if this port speaks TLS, use amqps://"):
        connect(url(node, scheme="amqp"), None, seconds=2)


def test_tls_to_the_plain_port_is_told_apart(node: BrokerNode, trusted: ssl.SSLContext) -> None:
    plain = node.url.replace("amqp:", "amqps:").replace("127.0.0.1", "localhost")
    with pytest.raises(InsecureBrokerError, match="does not speak TLS"):
        connect(plain, trusted)


def test_a_client_certificate_is_a_login(node: BrokerNode, authority: Authority) -> None:
    """EXTERNAL: no password anywhere, and the broker vouches for the sender by that login."""
    certificate, key = authority.issue_client("alice")
    node.ctl("add_user", "alice", "no-password-is-used")
    node.ctl("set_permissions", "alice", ".*", ".*", ".*")
    context = client_context(ca_file=authority.folder / "ca.pem", certificate=certificate, key=key)
    address = f"amqps://alice@localhost:{node.tls_port}"
    tls = Tls(context, has_certificate=True)
    with Connection([address], name="alice", tls=tls) as connection:
        connection.wait_connected(15)
        connection.declare_queue("of-alice")
        connection.subscribe("of-alice", prefetch=1)
        connection.publish([Outgoing("", "of-alice", b"x", "Letter", "1")])
        while not isinstance(event := connection.event_buffer.get(15), Delivery):
            assert event is not None
        assert event.user_id == "alice"


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.issue_client("bob")
    _, key_of_another = authority.issue_client("eve")
    with pytest.raises(InvalidInputError, match=r"--ca-file .* holds no certificates"):
        client_context(ca_file=tmp_path / "none.pem")
    with pytest.raises(InvalidInputError, match=r"--certificate .* cannot be used with its key"):
        client_context(certificate=certificate, key=key_of_another)
    with pytest.raises(InvalidInputError, match="--ca-file has no use without TLS"):
        connection_tls(("amqp://localhost",), ca_file=authority.folder / "ca.pem")


def test_keys_are_their_owners_alone(authority: Authority) -> None:
    authority.issue_client("dora")
    keys = list(authority.folder.glob("*-key.pem"))
    assert keys
    assert {path.stat().st_mode & 0o077 for path in keys} == {0}


def test_nothing_can_turn_verification_off(authority: Authority) -> None:
    """Every context that pika is handed, however it was asked for, verifies chain and host name."""
    certificate, key = authority.issue_client("fred")
    address = "amqps://fred@broker.example"
    ca = {"ca_file": authority.folder / "ca.pem"}
    files: list[dict[str, Path]] = [
        {},
        ca,
        {"certificate": certificate, "key": key},
        {**ca, "certificate": certificate, "key": key},
    ]
    contexts = [
        make(each)
        for each in files
        for make in (
            lambda named: client_context(**named),
            lambda named: connection_tls((address, "amqp://fred:x@other.example"), **named).context,
        )
    ]
    for context in (None, *contexts):
        for has_certificate in (False, True):
            tls = None if context is None else Tls(context, has_certificate=has_certificate)
            options = (
                Address.parse(address)
                .parameters(heartbeat_seconds=60, client_properties={}, tls=tls)
                .ssl_options
            )
            assert options.server_hostname == "broker.example"
            assert options.context.verify_mode is ssl.CERT_REQUIRED
            assert options.context.check_hostname is True
            assert options.context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_replica_claims_its_slot_over_tls(node: BrokerNode, authority: Authority) -> None:
    """With the CA that its own options name, and with a client certificate as the login."""
    certificate, key = authority.issue_client("replicas")
    node.ctl("add_user", "replicas", "no-password-is-used")
    node.ctl("set_permissions", "replicas", ".*", ".*", ".*")
    settings = ParticipantSettings(
        broker=(f"amqps://replicas@localhost:{node.tls_port}",),
        federation="slots-over-tls",
        slots=1,
        ca_file=authority.folder / "ca.pem",
        certificate=certificate,
        key=key,
    )
    with ReplicaLease(settings, tls=tls_of(settings)) as holder:
        claimed = holder.claim(lambda *_: None)
    assert claimed is not None
    assert claimed.id == "slot-0"


def test_status_looks_over_tls(
    node: BrokerNode, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ca-file` is for the broker."""
    settings = StatusSettings(
        federation="looked-at-over-tls",
        broker=(url(node),),
        ca_file=authority.folder / "ca.pem",
        listen_seconds=0,
    )
    watch(settings, json=True, repeat=False, on_ready=lambda _: None)
    assert "no coordinator has opened the federation" in capsys.readouterr().out


def test_the_well_known_login_is_for_ones_own_machine(caplog: pytest.LogCaptureFixture) -> None:
    connection_tls(("amqp://localhost", "amqp://127.0.0.1", "amqp://[::1]"))
    assert caplog.text.count("guest is for trying out") == 3
    with pytest.raises(InvalidInputError, match="guest is for trying out on the broker's own"):
        connection_tls(("amqp://broker.example",))


def test_a_bound_on_bytes_per_second_is_kept_under_tls(
    node: BrokerNode, trusted: ssl.SSLContext
) -> None:
    """In both directions, and what arrives is whole."""
    body, rate = os.urandom(500_000), 500_000
    for paces in (Paces(up=Pace(rate)), Paces(down=Pace(rate))):
        with Connection([url(node)], name="tls", tls=Tls(trusted), paces=paces) as connection:
            connection.wait_connected(15)
            connection.declare_queue("paced")
            subscription = connection.subscribe("paced", prefetch=1)
            began = time.monotonic()
            connection.publish([Outgoing("", "paced", body, "Letter", "1")])
            while not isinstance(event := connection.event_buffer.get(15), Delivery):
                assert event is not None
            assert event.body == body
            assert time.monotonic() - began >= 0.6
            connection.acknowledge(event)
            connection.unsubscribe(subscription)
