"""Broker addresses: from a URL to pika's parameters, and never a password in a log."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pika
from pika.credentials import ExternalCredentials, PlainCredentials

from fanfold.schemas.errors import InvalidInputError

_DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
_TCP_SECONDS = 10.0  # for the TCP connection, per resolved address
_HANDSHAKE_SECONDS = 15.0  # for TCP, TLS and AMQP together
_MAX_HEARTBEAT_SECONDS = 65_535  # AMQP counts them in 16 bits
_NO_ADDRESS = (
    "the broker's address must look like amqp://login:password@host:5672/vhost, or amqps:// with "
    "TLS, and nothing but ?heartbeat=SECONDS may follow; quote special characters in the password, "
    "'/' as %2F and '?' as %3F"
)
_ELSEWHERE = {
    "cacertfile": "--ca-file",
    "certfile": "--certificate",
    "keyfile": "--key",
    "ssl_options": "--ca-file, --certificate and --key",
    "connection_timeout": "--connect-seconds",
    "connection_attempts": "--connect-seconds",
    "retry_delay": "--reconnect-seconds",
}
"""What other clients let an address say, and the option that says it here."""
_WITHOUT_USE = {
    *("auth_mechanism", "backpressure_detection", "blocked_connection_timeout", "channel_max"),
    *("client_properties", "depth", "fail_if_no_peer_cert", "frame_max", "locale"),
    *("server_name_indication", "socket_timeout", "stack_timeout", "tcp_options", "verify"),
}


@dataclass(frozen=True, slots=True)
class Tls:
    """How `Connection` speaks TLS.

    Attributes:
        context: verifies the broker's chain and host name.
        has_certificate: whether the context has a certificate of our own. A broker's URL without
            a password then logs in with it (the mechanism EXTERNAL).
    """

    context: ssl.SSLContext
    has_certificate: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """One broker: where it listens and who we are there."""

    host: str
    port: int
    login: str
    password: str | None = field(repr=False)
    """None where the URL has a login but no password."""
    vhost: str
    tls: bool
    heartbeat_seconds: int | None = None
    """What `?heartbeat=30` asks for; None where the URL leaves that to others."""

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read `amqp://login:password@host:port/vhost`; login and vhost as RabbitMQ's defaults.

        Of what pika lets a URL say behind a `?`, `heartbeat` is taken and the rest is named.

        Raises:
            InvalidInputError: if it is not such a URL; the message does not repeat it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
        except (ValueError, KeyError):
            parts = None
        if parts is None or not parts.hostname or parts.fragment:
            raise InvalidInputError(_NO_ADDRESS)
        return cls(
            host=parts.hostname,
            port=port,
            login=unquote(parts.username or "guest"),
            password="guest" if parts.username is None else _unquoted(parts.password),
            vhost=unquote(parts.path[1:]) or "/",
            tls=parts.scheme == "amqps",
            heartbeat_seconds=_heartbeat_seconds(parts.query),
        )

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        vhost = "" if self.vhost == "/" else "/" + quote(self.vhost, safe="")
        return f"{scheme}://{quote(self.login, safe='')}@{host}:{self.port}{vhost}"

    @property
    def is_loopback(self) -> bool:
        """Whether this is our own machine, by its name or its address."""
        return is_loopback(self.host)

    def parameters(
        self,
        *,
        heartbeat_seconds: int,
        client_properties: Mapping[str, str],
        tls: Tls | None,
    ) -> pika.ConnectionParameters:
        """Return what pika needs to connect here.

        Args:
            heartbeat_seconds: where the URL has none of its own.
            client_properties: what the management UI shows.
            tls: for `amqps://`; None verifies with the system's CAs.
        """
        credentials: PlainCredentials | ExternalCredentials
        if self.password is None and self.tls and tls is not None and tls.has_certificate:
            credentials = ExternalCredentials()
        else:
            password = "guest" if self.password is None else self.password
            credentials = PlainCredentials(self.login, password)
        context = None
        if self.tls:
            context = ssl.create_default_context() if tls is None else tls.context
        return pika.ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.vhost,
            credentials=credentials,
            heartbeat=self.heartbeat_seconds or heartbeat_seconds,
            ssl_options=pika.SSLOptions(context, self.host) if context else None,
            socket_timeout=_TCP_SECONDS,
            stack_timeout=_HANDSHAKE_SECONDS,
            client_properties=dict(client_properties),
        )


@dataclass(frozen=True, slots=True)
class Access:
    """The way to a broker: its nodes, who we are there, and TLS."""

    addresses: tuple[Address, ...]
    tls: Tls | None


def is_loopback(host: str) -> bool:
    """Whether a name or an address is that of our own machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _heartbeat_seconds(query: str) -> int | None:
    """Return the heartbeat that the part behind the `?` asks for; nothing else may stand there.

    It is repeated only where it is an option's name: it could be the end of a password.
    """
    found = None
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _ELSEWHERE:
            raise InvalidInputError(
                f"the broker's address cannot say {name}; leave it out and use {_ELSEWHERE[name]}"
            )
        if name in _WITHOUT_USE:
            raise InvalidInputError(f"the broker's address cannot say {name}; leave it out")
        if name != "heartbeat":
            raise InvalidInputError(_NO_ADDRESS)
        if not value.isdecimal() or not 1 <= int(value) <= _MAX_HEARTBEAT_SECONDS:
            raise InvalidInputError(
                f"heartbeat in the broker's address must be 1 to {_MAX_HEARTBEAT_SECONDS} seconds; "
                "without one, nobody would notice a machine that vanished"
            )
        found = int(value)
    return found


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def safe_url(url: str) -> str:
    """Return `url` without its password, fit for logs and messages.

    Raises:
        InvalidInputError: if it is not a broker's URL.
    """
    return str(Address.parse(url))
