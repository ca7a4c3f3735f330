"""The lock that one living coordinator holds, and who may come to it."""

from collections.abc import Iterable

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.rounds.presence import Presence
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
    """Takes the lock, keeps it through lost connections, and lets participants in.

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
        presence: Presence,
        say: Say,
        version_bytes: int,
        window: int,
        results_bytes: int | None,
    ) -> None:
        """Say nothing to the broker yet."""
        self._federation = federation
        self._channel = channel
        self._publisher = publisher
        self._event_buffer = event_buffer
        self._store = store
        self._presence = presence
        self._say = say
        self._version_bytes = version_bytes
        self._window = window
        self._results_bytes = results_bytes
        self._emptied: set[str] = set()

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
        self._declare()
        self._publisher.publish_if_due()
        emptied, self._emptied = frozenset(self._emptied), set()
        return emptied

    def declare_again(self, participants: Iterable[str] = ()) -> None:
        """Make sure of exchanges, queues and bindings, and of what these receive through.

        Raises:
            TransportError: if it was broken off; nothing is lost by that.
        """
        self._channel.declare(results_bytes=self._results_bytes)
        for participant in participants:
            if self._admit(participant) is None:
                break  # one after the other would take as long

    def forget_the_gone(self) -> None:
        """Who is no longer present is seen to again when it says hello."""
        self._channel.forget_all_but(self._presence.names)

    def welcome(self, participant: str) -> bool:
        """Give a queue to who says hello; False if it lies on a broker node that is down.

        A queue that nothing can be in gets the current version, if its owner is to have it.
        """
        if is_empty := self._admit(participant):
            self._publisher.send_to_newcomer(participant)
        return is_empty is not None

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

    def _declare(self) -> None:
        """Declare everything and receive; note whose queue has nothing in it.

        Where a node is down its queues are not asked for one after the other, each of them for as
        long as the first: who finds no queue says hello.
        """
        self._channel.open(window=self._window, results_bytes=self._results_bytes)
        for participant in sorted(self._presence.names | self._channel.known):
            is_empty = self._admit(participant)
            if is_empty is None:
                break
            if is_empty:
                self._emptied.add(participant)

    def _admit(self, participant: str) -> bool | None:
        """Admit a participant; None if its queue is out of reach."""
        try:
            return self._channel.admit(participant, version_bytes=self._version_bytes)
        except QueueDownError as error:
            log.warning("out of reach", participant=participant, reason=str(error))
        return None
