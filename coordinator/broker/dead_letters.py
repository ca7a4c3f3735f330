"""Malformed messages are put aside for a person to read, and acknowledged when that is done."""

from dataclasses import replace

import structlog

from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.broker.sending import Sending
from fanfold.coordinator.broker.sending_thread import SendingThread
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas.errors import ConnectionClosedError
from fanfold.transport import Delivery

MAX_LETTERS = 256
"""Dead letters that may wait to be sent."""
_UNTOLD = "the coordinator's log and history say why it was refused"

log = structlog.get_logger()


class DeadLetters:
    """Sends malformed messages to the queue of dead letters. Belongs to the work thread.

    Args:
        channel: on which they came.
        store: remembers which of them are not acknowledged yet.
        thread: in which they are sent.
        is_sealed: whether nobody is told the reason at the broker: it may quote what was sealed.
    """

    def __init__(
        self,
        channel: CoordinatorChannel,
        store: RunStore,
        thread: SendingThread,
        *,
        is_sealed: bool,
    ) -> None:
        self._channel = channel
        self._store = store
        self._thread = thread
        self._is_sealed = is_sealed

    def put_aside(self, delivery: Delivery, reason: str) -> None:
        """Begin to put a malformed message aside, unless too many wait for that already."""
        if self._thread.num_letters < MAX_LETTERS:
            letter = replace(delivery, body=b"")
            self._store.pending_acks.put_aside(letter)
            told = _UNTOLD if self._is_sealed else reason
            self._thread.submit(self._channel.dead_letter(delivery, told), Sending(letter=letter))
        else:
            self._channel.acknowledge(delivery)

    def sent(self, letter: Delivery, error: BaseException | None) -> None:
        """Acknowledge a malformed message, whether or not it could be kept for a person.

        Raises:
            ConnectionClosedError: if that is why it could not.
        """
        if isinstance(error, ConnectionClosedError):
            raise error
        if error is not None:
            log.warning("a dead letter is not kept", reason=str(error), sender=letter.user_id)
        self._store.pending_acks.kept(letter)
        self._channel.acknowledge(letter)
