"""The connections of a service to its broker, all made in the same way from its settings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from fanfold.transport.addresses import Access, Address, Tls
from fanfold.transport.connection import DEFAULT_WINDOW_BYTES, Connection
from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.pace import UNPACED, Paces
from fanfold.transport.tls import connection_tls


class BrokerSettings(Protocol):
    """What the settings of a coordinator, a participant and a keeper say of their broker."""

    @property
    def federation(self) -> str:
        """Its name."""

    @property
    def broker(self) -> tuple[str, ...]:
        """The URLs, tried in turn."""

    @property
    def ca_file(self) -> Path | None:
        """The CAs to trust, instead of the system's."""

    @property
    def certificate(self) -> Path | None:
        """Of this client."""

    @property
    def key(self) -> Path | None:
        """The certificate's."""

    @property
    def heartbeat_seconds(self) -> int:
        """Between heartbeats."""

    @property
    def reconnect_seconds(self) -> float:
        """The longest pause between attempts to connect."""


def tls_of(settings: BrokerSettings) -> Tls | None:
    """Return the settings of TLS with the broker; None if no URL asks for it.

    Raises:
        InvalidInputError: if a file cannot be used, or is given without TLS.
    """
    return connection_tls(
        settings.broker,
        ca_file=settings.ca_file,
        certificate=settings.certificate,
        key=settings.key,
    )


def access_of(settings: BrokerSettings) -> Access:
    """Return the way to the broker that the settings name.

    Raises:
        InvalidInputError: if an address or a file cannot be used.
    """
    return Access(tuple(map(Address.parse, settings.broker)), tls_of(settings))


def connection_of(
    settings: BrokerSettings,
    role: Literal["coordinator", "participant", "keeper", "service"],
    purpose: str,
    *,
    event_buffer: EventBuffer,
    tls: Tls | None,
    reread: Callable[[], BrokerSettings] | None = None,
    properties: Mapping[str, str] | None = None,
    paces: Paces = UNPACED,
) -> Connection:
    """Return a connection that is not started yet.

    Args:
        settings: name the broker and the federation.
        role: of the service.
        purpose: part of the connection's name, which the management UI shows.
        event_buffer: receives its events.
        tls: what `tls_of` returned.
        reread: returns the settings as they are now, asked before every attempt to connect again.
        properties: further client properties for the management UI.
        paces: how fast bytes may come and go.
    """
    return Connection(
        settings.broker,
        name=f"{settings.federation} {role} {purpose}",
        event_buffer=event_buffer,
        client_properties={
            "federation": settings.federation,
            "role": role,
            **(properties or {}),
        },
        heartbeat_seconds=settings.heartbeat_seconds,
        max_backoff_seconds=settings.reconnect_seconds,
        tls=tls,
        access_anew=None if reread is None else lambda: access_of(reread()),
        window_bytes=paces.sent_ahead(DEFAULT_WINDOW_BYTES),
        paces=paces,
    )
