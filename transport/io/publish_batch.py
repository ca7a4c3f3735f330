"""One call of `publish`, as the caller and the I/O thread see it."""

import threading
import time
from collections import deque
from collections.abc import Callable

from fanfold.schemas.errors import BrokerUnreachableError
from fanfold.transport.events import ENVELOPE_BYTES, Outgoing, unheard


class PublishBatch:
    """Messages from a caller to the publisher, with a bound on unconfirmed bytes.

    The caller hands messages over and waits; the I/O thread takes them, and confirms or fails them.
    A message counts from being handed over until it is confirmed, whether it is sent or not: so
    memory is bounded also without a connection.

    Args:
        window_bytes: the bound on unconfirmed bytes; one message of any size fits an empty window.
        deadline: of `time.monotonic`; None waits for as long as it takes.
        tell: called with each message that is confirmed, while the caller waits and in its thread.
    """

    def __init__(
        self,
        window_bytes: int,
        deadline: float | None,
        tell: Callable[[Outgoing], None] = unheard,
    ) -> None:
        self._window_bytes = window_bytes
        self._deadline = deadline
        self._tell = tell
        self._untold: list[Outgoing] = []
        self._changed = threading.Condition()
        self._num_bytes = 0
        self._num_messages = 0
        self._error: Exception | None = None
        self.to_send: deque[Outgoing] = deque()

    def hand_over(self, message: Outgoing) -> None:
        """Wait for space in the window, then queue the message. Called by the publishing thread.

        Raises:
            TransportError: if this or an earlier message of the batch failed, or time is up.
        """
        size = _weight(message)
        self._wait_for(size)
        with self._changed:
            self._num_bytes += size
            self._num_messages += 1
            self.to_send.append(message)

    def wait_confirmed(self) -> None:
        """Wait until all messages are confirmed. Called by the publishing thread.

        Raises:
            TransportError: if a message failed, or time is up.
        """
        self._wait_for(None)

    def confirmed(self, message: Outgoing) -> None:
        """Free the space that the message took. Called by the I/O thread."""
        with self._changed:
            self._num_bytes -= _weight(message)
            self._num_messages -= 1
            self._untold.append(message)
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Make the caller's next or current wait raise. Called by the I/O thread."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _wait_for(self, size: int | None) -> None:
        """Wait for space for `size` bytes; None waits for an empty window."""

        def ready() -> bool:
            room = size is not None and self._num_bytes + size <= self._window_bytes
            return self._error is not None or not self._num_messages or room

        while True:
            with self._changed:
                remaining = None if self._deadline is None else self._deadline - time.monotonic()
                self._changed.wait_for(lambda: ready() or self._untold, remaining)
                is_ready, untold, self._untold = ready(), self._untold, []
            for message in untold:
                self._tell(message)  # outside the lock, which the I/O thread needs
            if self._error is not None:
                raise self._error
            if is_ready:
                return
            if not untold:
                raise BrokerUnreachableError(
                    f"the broker did not confirm in time: {self._num_messages} messages are in "
                    "doubt"
                )


def _weight(message: Outgoing) -> int:
    return len(message.body) + ENVELOPE_BYTES
