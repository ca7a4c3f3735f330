"""The lock that one living coordinator holds."""

from collections.abc import Iterable

import structlog

from fanfold.coordinator.admission.participant_queues import ParticipantQueues
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.reports import Say
from fanfold.schemas.errors import ConnectionLostError, QueueDownError
from fanfold.transport import Connected, EventBuffer, Stop

STANDBY_SECONDS = 2.0

log = structlog.get_logger()


class StoppedError(Exception):
    """Raised in the work thread once a `Stop` was read; no error of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Leadership:
    """Takes the lock, and keeps it through lost connections.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        federation: str,
        *,
        channel: CoordinatorChannel,
        publisher: Publisher,
        event_buffer: EventBuffer,
        store: RunStore,
        queues: ParticipantQueues,
        say: Say,
        window: int,
        results_bytes: int | None,
    ) -> None:
        """Say nothing to the broker yet."""
        self._federation = federation
        self._channel = channel
        self._publisher = publisher
        self._event_buffer = event_buffer
        self._store = store
        self._queues = queues
        self._say = say
        self._window = window
        self._results_bytes = results_bytes

    @property
    def is_window_half_full(self) -> bool:
        """Whether so much is unacknowledged that unfinished uploads could soon fill the window."""
        return len(self._store.pending_acks) >= self._window // 2

    def enter(self) -> None:
        """Wait for the connections and the lock; stand by for as long as another one holds it."""
        while not isinstance(
            event := self._event_buffer.get(None), Connected
        ) or not self._channel.holds_lock(event.connection):
            self.check_stop(event)
        self._hold_lock()

    def open(self) -> None:
        """Declare everything and begin to receive, however long the broker takes to be there.

        A broker that restarts lets one link in before another: who stood by has the lock then, and
        nothing to declare on.

        Raises:
            SupersededError: if another coordinator held the lock meanwhile.
        """
        while True:
            try:
                self.come_back()
            except (ConnectionLostError, QueueDownError) as error:
                log.warning("not in office yet", reason=str(error))
                self.pause(STANDBY_SECONDS)
            else:
                return

    def come_back(self) -> frozenset[str]:
        """Hold the lock and receive again after a lost connection, or a lost subscription.

        Everything unacknowledged comes again.

        Returns:
            Who has a queue in which nothing is: it was deleted, or the broker came back empty.
            Those found by an attempt that was broken off are among them.

        Raises:
            SupersededError: if another coordinator held the lock meanwhile.
        """
        self._hold_lock()
        self._store.check_epoch()
        self._store.pending_acks.forget()
        self._channel.open(window=self._window, results_bytes=self._results_bytes)
        self._queues.see_to_all()
        self._publisher.publish_if_due()
        return self._queues.take_emptied()

    def declare_again(self, participants: Iterable[str] = ()) -> None:
        """Make sure of exchanges, queues and bindings, and of what these receive through.

        Raises:
            TransportError: if it was broken off; nothing is lost by that.
        """
        self._channel.declare(results_bytes=self._results_bytes)
        self._queues.see_to(participants)

    def forget_the_gone(self) -> None:
        """Who is no longer present is seen to again when it says hello."""
        self._queues.forget_the_gone()

    def check_stop(self, event: object) -> None:
        """Raise `StoppedError` if this event asks for it."""
        if isinstance(event, Stop):
            raise StoppedError(event.reason)

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody wants us to stop; all else is read later."""
        stop = self._event_buffer.find(Stop, seconds)
        if stop is not None:
            raise StoppedError(stop.reason)

    def _hold_lock(self) -> None:
        stood_by = False
        while True:
            try:
                if not self._channel.take_lock():
                    if self._store.epoch:  # we had the lock: whoever took it does not return it
                        self._store.check_epoch()
                    if not stood_by:
                        self._say("standing_by", {"federation": self._federation})
                    stood_by = True
                elif self._channel.is_connected:
                    return
            except (ConnectionLostError, QueueDownError) as error:
                log.warning("the lock is out of reach", reason=str(error))
            self.pause(STANDBY_SECONDS)
