"""The lock that the active coordinator holds."""

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas.errors import ConnectionLostError, QueueDownError
from fanfold.schemas.events.coordinator import StandingBy
from fanfold.schemas.events.event import Say
from fanfold.transport import Connected, EventReader

STANDBY_SECONDS = 2.0

log = structlog.get_logger()


class Leadership:
    """Takes the lock, and takes it again after a lost connection.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        federation: str,
        *,
        channel: CoordinatorChannel,
        reader: EventReader,
        store: RunStore,
        say: Say,
    ) -> None:
        """Prepare; nothing is sent to the broker yet."""
        self._federation = federation
        self._channel = channel
        self._reader = reader
        self._store = store
        self._say = say

    def take_first(self) -> None:
        """Wait for the connection that holds the lock, and then for the lock.

        Raises:
            StoppedError: if somebody wants us to stop meanwhile.
        """
        while not (
            isinstance(event := self._reader.read(), Connected)
            and self._channel.holds_lock(event.connection)
        ):
            pass
        self.take()

    def take(self) -> None:
        """Wait for all connections and take the lock; stand by while another one holds it.

        Raises:
            SupersededError: if we had an epoch, and another coordinator took one since.
            StoppedError: if somebody wants us to stop meanwhile.
        """
        stood_by = False
        while True:
            try:
                if not self._channel.take_lock():
                    self._check_epoch()  # another coordinator may have taken over meanwhile
                    if not stood_by:
                        self._say(StandingBy(self._federation))
                    stood_by = True
                elif self._channel.is_connected:
                    self._check_epoch()
                    return
            except (ConnectionLostError, QueueDownError) as error:
                log.warning("the lock is out of reach", reason=str(error))
            self._reader.pause(STANDBY_SECONDS)

    def _check_epoch(self) -> None:
        if self._store.epoch:
            self._store.check_epoch()
