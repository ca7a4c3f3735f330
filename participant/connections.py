"""A participant's connections to the broker, all made in the same way."""

from fanfold.participant.settings import ParticipantSettings
from fanfold.transport import Connection, EventBuffer, Tls, connection_tls


def tls_of(settings: ParticipantSettings) -> Tls | None:
    """Return what TLS with the broker is held to; None where no address asks for it.

    Raises:
        InvalidInputError: if a file cannot be used, or has no use.
    """
    return connection_tls(
        settings.broker,
        ca_file=settings.ca_file,
        certificate=settings.certificate,
        key=settings.key,
    )


def connection_of(
    settings: ParticipantSettings,
    purpose: str,
    *,
    event_buffer: EventBuffer,
    tls: Tls | None,
    properties: dict[str, str] | None = None,
) -> Connection:
    """Return a connection that is not started yet.

    Args:
        settings: which broker, and who we are there.
        purpose: goes into the name of the connection, as the management UI shows it.
        event_buffer: where its events go.
        tls: what `tls_of` returned.
        properties: more that the management UI is to show.
    """
    return Connection(
        settings.broker,
        name=f"{settings.federation} participant {purpose}",
        event_buffer=event_buffer,
        client_properties={
            "federation": settings.federation,
            "role": "participant",
            **(properties or {}),
        },
        heartbeat_seconds=settings.heartbeat_seconds,
        max_backoff_seconds=settings.reconnect_seconds,
        tls=tls,
    )
