"""The queue of each participant: made for who says hello, seen to again when it may be gone."""

from collections.abc import Iterable

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.coordinator.rounds.presence import Presence
from fanfold.schemas.errors import QueueDownError

log = structlog.get_logger()


class ParticipantQueues:
    """Makes sure that participants have queues, and sends the version to who has an empty one.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self,
        presence: Presence,
        *,
        channel: CoordinatorChannel,
        publisher: Publisher,
        version_bytes: int,
    ) -> None:
        """Say nothing to the broker yet; each queue has room for `version_bytes`."""
        self._presence = presence
        self._channel = channel
        self._publisher = publisher
        self._version_bytes = version_bytes
        self._emptied: set[str] = set()

    def is_known(self, participant: str) -> bool:
        """Whether this coordinator saw to the queue, and has not forgotten it since."""
        return participant in self._channel.known

    def welcome(self, participant: str) -> bool:
        """Give a queue to who says hello; False if it lies on a broker node that is down.

        A queue that nothing can be in gets the current version, if its owner is to have it.

        Raises:
            TransportError: if it was broken off.
        """
        if is_empty := self._admit(participant):
            self._publisher.send_to_newcomer(participant)
        return is_empty is not None

    def see_to(self, participants: Iterable[str]) -> None:
        """Make sure that these have queues, and that versions reach them.

        Raises:
            TransportError: if it was broken off; nothing is lost by that.
        """
        for participant in participants:
            if self._admit(participant) is None:
                break  # one after the other would take as long

    def see_to_all(self) -> None:
        """Do so for everybody, after a lost connection; note whose queue has nothing in it.

        Where a node is down its queues are not asked for one after the other, each of them for as
        long as the first: who finds no queue says hello.

        Raises:
            TransportError: if it was broken off; what was noted before stays noted.
        """
        for participant in sorted(self._presence.names | self._channel.known):
            is_empty = self._admit(participant)
            if is_empty is None:
                break
            if is_empty:
                self._emptied.add(participant)

    def take_emptied(self) -> frozenset[str]:
        """Return, once, whose queue `see_to_all` found empty: it was deleted, or made anew."""
        emptied, self._emptied = frozenset(self._emptied), set()
        return emptied

    def forget_the_gone(self) -> None:
        """Who is no longer present is seen to again when it says hello."""
        self._channel.forget_all_but(self._presence.names)

    def _admit(self, participant: str) -> bool | None:
        """Admit a participant: whether its queue is empty; None if it is out of reach."""
        try:
            return self._channel.admit(participant, version_bytes=self._version_bytes)
        except QueueDownError as error:
            log.warning("out of reach", participant=participant, reason=str(error))
        return None
