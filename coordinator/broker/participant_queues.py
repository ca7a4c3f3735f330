"""The queues of participants, one for each, and whose were seen to."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from fanfold.coordinator.broker.queue_maker import QueueMaker
from fanfold.schemas.names import FederationNames
from fanfold.transport import Bindings


class ParticipantQueues:
    """Makes queues of participants, or finds them. Belongs to the coordinator's work thread."""

    def __init__(self, names: FederationNames, queues: QueueMaker) -> None:
        """Ask nothing yet."""
        self._names = names
        self._queues = queues
        self._known: set[str] = set()

    @property
    def known(self) -> AbstractSet[str]:
        """Whose queue was seen to since this start, but for those who went: a live view."""
        return self._known

    def admit(self, participant: str, *, version_bytes: int) -> bool:
        """Make sure that a participant's queue is there, of the size of one version, and bound.

        Returns:
            Whether nothing that was published before can reach the participant: the queue is empty
            and nobody consumes it, because it was made just now or lies abandoned.

        Raises:
            QueueDownError: if it lies on a node of the cluster that is down.
        """
        queue, bindings = self._queue_of(participant)
        state = self._queues.fit(queue, version_bytes=version_bytes, bindings=bindings)
        self._known.add(participant)
        # None is somebody else's, who knows what it holds: sending twice does no harm.
        return state is None or state.is_abandoned

    def admit_together(self, participants: Sequence[str], *, version_bytes: int) -> set[str] | None:
        """Make sure of the queues of many at once.

        Returns:
            Whom nothing that was published before can reach, as by `admit`; None if each has to be
            admitted by itself, because some queue was not as it should be.

        Raises:
            QueueDownError: if one lies on a node of the cluster that is down.
        """
        queues = dict(map(self._queue_of, participants))
        states = self._queues.fit_together(queues, version_bytes=version_bytes)
        if states is None:
            return None
        self._known.update(participants)
        pairs = zip(participants, states, strict=True)
        return {participant for participant, state in pairs if state.is_abandoned}

    def forget(self, participants: Iterable[str]) -> None:
        """Note whose queue is gone: until their next hello nothing can reach them."""
        self._known.difference_update(participants)

    def forget_all_but(self, participants: AbstractSet[str]) -> None:
        """Forget the queues of all others; they are checked again at their next hello."""
        self._known &= participants

    def _queue_of(self, participant: str) -> tuple[str, Bindings]:
        names = self._names
        bindings = (names.parameters_exchange, ""), (names.resend_exchange, participant)
        return names.participant_queue(participant), bindings
