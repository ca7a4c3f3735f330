"""A participant's connections to the broker, all made in the same way."""

from fanfold.participant.settings import ParticipantSettings
from fanfold.transport import Connection, EventBuffer, Tls, connection_tls


def tls_of(settings: ParticipantSettings) -> Tls | None:
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
        settings: name the broker and the participant.
        purpose: part of the connection's name, which the management UI shows.
        event_buffer: receives its events.
        tls: what `tls_of` returned.
        properties: further client properties for the management UI.
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
