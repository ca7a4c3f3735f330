"""The federation's queues: those that all share, and one for each participant."""

from collections.abc import Callable, Iterable, Sequence

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.schemas.errors import QueueDownError, TransportError

WINDOW_VERSIONS = 64
"""So many whole updates may be unacknowledged; classic queues hold them on disk."""
LEAST_WINDOW, LARGEST_WINDOW = 512, 65_535
"""In chunks. AMQP counts the window in 16 bits."""
MOST_TOGETHER = 100
"""Queues that are declared in one call: they have to be answered within its patience."""

log = structlog.get_logger()


def window_of(chunks: int) -> int:
    """Return how many chunks may be unacknowledged where an update has at most so many."""
    return min(max(WINDOW_VERSIONS * chunks, LEAST_WINDOW), LARGEST_WINDOW)


class FederationQueues:
    """Makes sure that queues are there and bound; who has an empty one is sent the version.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        state: FederationState,
        *,
        channel: CoordinatorChannel,
        publisher: Publisher,
        version_bytes: Callable[[], int],
        window: int,
    ) -> None:
        """Say nothing to the broker yet.

        Args:
            state: says who is there, and whose answers count.
            channel: declares what is asked for.
            publisher: sends the version to newcomers.
            version_bytes: what a participant's queue has room for: more with a longer roster.
            window: how many chunks of updates may be unacknowledged.
        """
        self._state = state
        self._channel = channel
        self._publisher = publisher
        self._version_bytes = version_bytes
        self._window = window
        self._emptied: set[str] = set()

    def open(self) -> frozenset[str]:
        """Declare everything, and begin to receive; everything unacknowledged comes again.

        Where a node is down its queues are not asked for one after the other, each of them for as
        long as the first: who finds no queue says hello.

        Returns:
            Whose queue has nothing in it: it was deleted, or the broker came back empty. Those
            found by an attempt that was broken off are among them.

        Raises:
            TransportError: if it was broken off.
        """
        self._channel.open(window=self._window)
        if self._channel.uptime.was_interrupted():
            self._publisher.versions_were_lost()
        participants = sorted(self._state.presence.names | self._channel.participants.known)
        for begin in range(0, len(participants), MOST_TOGETHER):
            if not self._admit_together(participants[begin : begin + MOST_TOGETHER]):
                break
        self._publisher.publish_if_due()
        emptied, self._emptied = frozenset(self._emptied), set()
        return emptied

    def forget_outcome(self) -> None:
        """Remove what was kept of the end of an earlier run, if it can be reached now."""
        try:
            self._channel.forget_outcome()
        except TransportError as error:
            log.warning("the end of the last run is still told", reason=str(error))

    def declare_again(self, participants: Iterable[str] = ()) -> None:
        """Make sure of what all share, and that versions reach these.

        Raises:
            TransportError: if it was broken off; nothing is lost by that.
        """
        self._channel.declare()
        for participant in participants:
            if self._admit(participant) is None:
                break  # one after the other would take as long

    def is_known(self, participant: str) -> bool:
        """Whether this coordinator saw to the queue, and has not forgotten it since."""
        return participant in self._channel.participants.known

    def welcome(self, participant: str) -> bool:
        """Give a queue to who says hello; False if it lies on a broker node that is down.

        A queue that nothing can be in gets the current version, if its owner is to have it and
        has not answered it: who has waits for the next one.

        Raises:
            TransportError: if it was broken off.
        """
        is_empty = self._admit(participant)
        if is_empty and not self._state.counts_an_answer_of(participant):
            self._publisher.send_to_newcomer(participant)
        return is_empty is not None

    def replace_lost(self, participant: str, *, held: int | None) -> None:
        """Send the current version to who lacks it since the broker was restarted.

        Who has answered it waits for the next one; `held` is the version that it says it holds.
        """
        if held != self._state.run.version and not self._state.counts_an_answer_of(participant):
            self._publisher.replace_lost(participant)

    def forget_the_gone(self) -> None:
        """Who is no longer present is seen to again when it says hello."""
        self._channel.participants.forget_all_but(self._state.presence.names)

    def _admit_together(self, participants: Sequence[str]) -> bool:
        """Admit many, one by one where that is needed; False if one is out of reach."""
        version_bytes = self._version_bytes()
        try:
            emptied = self._channel.participants.admit_together(
                participants, version_bytes=version_bytes
            )
        except QueueDownError as error:
            log.warning("out of reach", participants=len(participants), reason=str(error))
            return False
        if emptied is not None:
            self._emptied |= emptied
            return True
        for participant in participants:
            is_empty = self._admit(participant)
            if is_empty is None:
                return False
            if is_empty:
                self._emptied.add(participant)
        return True

    def _admit(self, participant: str) -> bool | None:
        """Admit a participant: whether its queue is empty; None if it is out of reach."""
        try:
            return self._channel.participants.admit(
                participant, version_bytes=self._version_bytes()
            )
        except QueueDownError as error:
            log.warning("out of reach", participant=participant, reason=str(error))
        return None
