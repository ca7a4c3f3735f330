"""A participant's two connections, the channel that uses them, and its work while they are up."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.border import Border
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.schemas.names import FederationNames
from fanfold.transport import (
    UNPACED,
    Connection,
    EventBuffer,
    Paces,
    Stop,
    Tls,
    connection_of,
)

OnReady = Callable[[Callable[[str], None]], None]
"""Is given the function that stops a participant, once there is one."""


def connect(
    settings: ParticipantSettings,
    event_buffer: EventBuffer,
    border: Border,
    *,
    device: str,
    tls: Tls | None,
    reread: Callable[[], ParticipantSettings] | None = None,
    paces: Paces = UNPACED,
) -> tuple[ParticipantChannel, tuple[Connection, Connection]]:
    """Return the channel, and the connections that publish and consume, not started.

    Args:
        settings: with an id and a federation.
        event_buffer: where deliveries come from.
        border: what messages cross.
        device: what the participant works on, for people who look at the broker.
        tls: what `tls_of` returned.
        reread: returns the settings with the credentials of now.
        paces: of what goes up and down.
    """
    consuming, publishing = (
        connection_of(
            settings,
            "participant",
            f"{settings.id} {does}",
            event_buffer=event_buffer,
            tls=tls,
            reread=reread,
            properties={"participant": settings.id, "device": device},
            paces=paces,
        )
        for does in ("consumes", "publishes")
    )
    channel = ParticipantChannel(
        FederationNames.of(settings.federation),
        settings.id,
        consuming=consuming,
        publishing=publishing,
        border=border,
    )
    return channel, (publishing, consuming)


def run_connected(
    work: Callable[[], bool],
    settings: ParticipantSettings,
    event_buffer: EventBuffer,
    connections: Sequence[Connection],
    *,
    on_ready: OnReady,
) -> bool:
    """Connect, and do the work of a service until it ends.

    Args:
        work: ends some time after a `Stop` came through the event buffer; returns what it is to.
        settings: say how long a broker is waited for.
        event_buffer: of the service.
        connections: first the one that publishes.
        on_ready: is given the function that stops it.

    Returns:
        What `work` does; True if it was stopped before there was a broker.

    Raises:
        LoginRefusedError: if the broker does not let us in.
        BrokerUnreachableError: if there is no broker within `connect_seconds`.
    """
    publishing, *_ = connections

    def stop(reason: str) -> None:
        event_buffer.put_event(Stop(reason))
        if not publishing.connected:  # a goodbye or an upload would wait for ever
            publishing.close()

    with ExitStack() as stack:
        for connection in reversed(connections):
            stack.enter_context(connection)
        on_ready(stop)
        try:
            for connection in connections:
                connection.wait_connected(settings.connect_seconds)
        except ConnectionClosedError:
            return True
        return work()
