"""The coordinator's three connections, and the channel that uses them."""

from collections.abc import Callable

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.names import FederationNames
from fanfold.sealing.identity import PublicIdentity
from fanfold.sealing.mask_seeds import in_order
from fanfold.transport import BrokerSettings, Connection, EventBuffer, connection_of, tls_of


def connect(
    settings: CoordinatorSettings,
    event_buffer: EventBuffer,
    *,
    reread: Callable[[], BrokerSettings] | None = None,
) -> tuple[CoordinatorChannel, tuple[Connection, Connection, Connection]]:
    """Return the channel, and the connections that publish, consume and administer, not started.

    Args:
        settings: of the coordinator.
        event_buffer: where deliveries and events go.
        reread: returns the settings with the credentials of now.

    Raises:
        InvalidInputError: if certificates or the identities of keepers cannot be read.
    """
    tls = tls_of(settings)
    consuming, publishing, administering = (
        connection_of(
            settings, "coordinator", purpose, event_buffer=event_buffer, tls=tls, reread=reread
        )
        for purpose in ("consumes", "publishes", "administers")
    )
    channel = CoordinatorChannel(
        FederationNames.of(settings.federation),
        consuming=consuming,
        publishing=publishing,
        administering=administering,
        shared_queues=settings.results_queue,
        results_bytes=settings.results_bytes,
        keepers=in_order(PublicIdentity.read(path) for path in settings.masks),
    )
    return channel, (publishing, consuming, administering)
