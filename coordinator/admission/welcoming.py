"""Whoever says hello gets a queue, but nobody so often that others have to wait for it."""

from collections.abc import Callable

import structlog

from fanfold.coordinator.broker.federation_queues import FederationQueues
from fanfold.coordinator.broker.publisher import Publisher
from fanfold.schemas.errors import ConnectionLostError
from fanfold.transport import Backoff

OUT_OF_REACH_SECONDS = 120.0
"""How long nobody asks again for a queue on a node that is down."""
OUT_OF_REACH_SHARE = 3
"""For so many times as long as that took, no hello is answered: hundreds may wait for the node."""
WELCOMES = Backoff(0.5, 8.0)
"""A hello makes two trips to the broker; one who needs no answer yet says it again by itself. Who
says it again and again is answered half as often each time, until it has been quiet for a minute.
"""
QUIET_SECONDS = 60.0

log = structlog.get_logger()


class Welcoming:
    """Sees to the queues of those who say hello, each in its turn.

    Belongs to the coordinator's work thread.
    """

    def __init__(
        self, queues: FederationQueues, *, publisher: Publisher, clock: Callable[[], float]
    ) -> None:
        """Welcome nobody yet; `clock` is monotonic, and says how long the broker took to answer."""
        self._queues = queues
        self._publisher = publisher
        self._clock = clock
        self._next_welcome: dict[str, float] = {}
        self._welcomes: dict[str, int] = {}
        self._out_of_reach: set[str] = set()
        self._next_question = 0.0

    def can_reach(self, participant: str, now: float, *, is_consuming: bool) -> bool:
        """Whether a participant that says hello has a queue, or has it now.

        Who consumes it has one; it is seen to all the same where this coordinator never did, for a
        binding may be gone. That costs two trips to the broker, one after the other, and after a
        lost connection hundreds say hello at once.
        """
        if not is_consuming:
            return self.welcome(participant, now)
        self._out_of_reach.discard(participant)
        if not self._queues.is_known(participant):
            self.welcome(participant, now)
        return True

    def welcome(self, participant: str, now: float) -> bool:
        """See to a participant's queue if it is its turn; False if that is out of reach.

        Then the round goes on without it.
        """
        if now < self._next_question:
            return False  # it says hello because it has no queue to read, for all we know now
        due = self._next_welcome.get(participant, now)
        if now >= due:
            before = self._welcomes.get(participant, 0) if now < due + QUIET_SECONDS else 0
            self._welcomes[participant] = before + 1
            self._next_welcome[participant] = now + WELCOMES.seconds(before + 1)
            try:
                is_in_reach = self._queues.welcome(participant)
            except ConnectionLostError:  # our own: it says hello again while it has no queue
                log.warning("no connection to welcome on", participant=participant)
            else:
                self._reached(participant, now, is_in_reach=is_in_reach)
        return participant not in self._out_of_reach

    def send_again(self, participant: str) -> None:
        """Send the current version to one that has to answer it anew, or lacks what it changes."""
        self._publisher.send_to_newcomer(participant)

    def replace_lost(self, participant: str, *, held: int | None) -> None:
        """Send the current version to one that holds an older one, if a restart took it along."""
        self._queues.replace_lost(participant, held=held)

    def _reached(self, participant: str, now: float, *, is_in_reach: bool) -> None:
        if is_in_reach:
            self._out_of_reach.discard(participant)
        else:
            self._out_of_reach.add(participant)
            self._next_welcome[participant] = now + OUT_OF_REACH_SECONDS
            answered = self._clock()
            self._next_question = answered + OUT_OF_REACH_SHARE * (answered - now)
