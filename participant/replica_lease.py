"""A replica without an id takes a free slot, which gives it an id and a share of the data.

So `docker compose up --scale participant=8` needs no list of ids. A slot is an exclusive queue
`F.slot.i`, which the broker gives to one connection at a time and frees when that ends, however it
ends. There are as many shares as slots; a replica that finds none free waits until one is.
"""

import threading
import time
from collections.abc import Callable
from typing import Self

import structlog

from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.errors import (
    NOT_FOUND,
    RESOURCE_LOCKED,
    ConnectionLostError,
    FanfoldError,
    QueueDownError,
    RefusedByBrokerError,
)
from fanfold.schemas.events.event import Say
from fanfold.schemas.events.participant import SlotClaimed, WaitingForSlot
from fanfold.schemas.names import FederationNames
from fanfold.transport import Connected, EventBuffer, Tls, connection_of

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class LeaseLostError(FanfoldError):
    """Raised when another replica took the slot while our connection was lost."""


class ReplicaLease:
    """Claims one slot and holds it until the end of the context, through lost connections.

    The broker may take a while to notice that our old connection is dead, so a slot that is taken
    after a reconnect is asked for again during three heartbeats before it counts as lost.

    Args:
        settings: with a number of slots.
        tls: what `tls_of` returned.
        clock: seconds that only grow.

    Raises:
        ValueError: if the settings have no slots.
    """

    def __init__(
        self,
        settings: ParticipantSettings,
        *,
        tls: Tls | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.slots is None:
            raise ValueError("a lease needs a number of slots")
        self._settings = settings
        self._clock = clock
        self._num_slots = settings.slots
        self._names = FederationNames.of(settings.federation)
        self._event_buffer = EventBuffer()
        self._connection = connection_of(
            settings, "participant", "claims a slot", event_buffer=self._event_buffer, tls=tls
        )
        self._told = threading.Event()
        self._reason = ""
        self._thread = threading.Thread(target=self._keep, name="slot", daemon=True)
        self._slot = -1
        self._on_lost: Callable[[str], None] = lambda _: None
        self.is_lost = False

    def __enter__(self) -> Self:
        self._connection.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("done")
        if self._thread.ident:
            self._thread.join()
        self._connection.close()

    def stop(self, reason: str) -> None:
        """Stop waiting; called from any thread."""
        self._reason = self._reason or reason
        self._told.set()
        self._event_buffer.put_event(None)

    def pass_on(self, stop: Callable[[str], None]) -> None:
        """Call `stop` from now on when the slot is lost or a stop was requested.

        If that happened before, it is called at once.
        """
        self._on_lost = stop
        if self.is_lost:
            self._tell_lost()
        elif self._told.is_set():
            stop(self._reason)

    def claim(self, say: Say) -> ParticipantSettings | None:
        """Take a free slot, waiting for one if need be; None if told to stop before.

        Returns:
            The settings of a participant whose id is the slot's, and whose share of the data is the
            slot's of the share in the settings.

        Raises:
            BrokerUnreachableError: if there is no broker within `connect_seconds`.
            LoginRefusedError: if the broker does not let us in.
        """
        self._connection.wait_connected(self._settings.connect_seconds)
        has_waited = False
        while not self._told.is_set():
            for slot in range(self._num_slots):
                if self._take(slot):
                    return self._claimed(slot, say)
            if not has_waited:
                say(WaitingForSlot(self._num_slots))
                has_waited = True
            self._told.wait(RETRY_SECONDS)
        return None

    def _claimed(self, slot: int, say: Say) -> ParticipantSettings:
        self._slot = slot
        self._thread.start()
        settings = self._settings
        name = f"slot-{slot}"
        say(SlotClaimed(name, slots=self._num_slots))
        return settings.model_copy(
            update={
                "id": name,
                "partition_index": settings.partition_index * self._num_slots + slot,
                "num_partitions": settings.num_partitions * self._num_slots,
                "state_dir": settings.state_dir and settings.state_dir / name,
            }
        )

    def _take(self, slot: int) -> bool:
        try:
            self._connection.declare_queue(
                self._names.slot_queue(slot),
                arguments={"x-queue-type": "classic"},
                exclusive=True,
            )
        except RefusedByBrokerError as refusal:
            if refusal.code in (RESOURCE_LOCKED, NOT_FOUND):  # 404: its node went with it
                return False
            raise
        except (ConnectionLostError, QueueDownError):
            return False
        return True

    def _keep(self) -> None:
        """Take the slot again after every reconnect."""
        while not self._told.is_set():
            if isinstance(self._event_buffer.get(None), Connected) and not self._take_again():
                self.is_lost = not self._told.is_set()
                if self.is_lost:
                    log.warning("slot lost", slot=self._slot)
                    self._tell_lost()
                return

    def _tell_lost(self) -> None:
        self._on_lost(f"another replica has slot {self._slot}")

    def _take_again(self) -> bool:
        until = self._clock() + 3 * self._connection.heartbeat_seconds
        while not self._take(self._slot):
            if not self._connection.connected:
                return True  # Connected brings us back
            if self._clock() > until or self._told.wait(RETRY_SECONDS):
                return False
        return True
