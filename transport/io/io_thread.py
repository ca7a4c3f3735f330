"""The thread that owns all objects of pika; other threads reach them only through it."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from pika.adapters.select_connection import IOLoop

from fanfold.schemas.errors import ConnectionClosedError
from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.io.reconnector import Reconnector

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class IOThread:
    """Runs pika's loop. Other threads post callbacks to it, or ask and wait for the answer.

    A callback that raises is a bug: the thread logs it, drops its connection and ends.

    Args:
        name: the connection's, for errors.
        event_buffer: a post interrupts the wait of a delivery for room in it.
        ended: called in the thread as the last thing, with the reason.
    """

    def __init__(
        self, name: str, event_buffer: EventBuffer, *, ended: Callable[[Exception], None]
    ) -> None:
        self.loop = IOLoop()
        self._name = name
        self._event_buffer = event_buffer
        self._on_ended = ended
        self._thread: threading.Thread | None = None
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._answers: set[Future[Any]] = set()
        self._closing = False
        self._ended: Exception | None = None

    @property
    def ended(self) -> Exception | None:
        """Why the thread has ended; None while it runs."""
        return self._ended

    @property
    def is_closing(self) -> bool:
        """Whether `shut` or `stop` was called."""
        return self._closing

    @property
    def is_wanted(self) -> bool:
        """Whether a caller waits for the thread, or for an answer that it has yet to read."""
        return bool(self._calls or self._answers)

    def start(self, reconnector: Reconnector) -> None:
        """Start the thread, which starts to connect."""
        self._thread = threading.Thread(
            target=self._run, args=(reconnector,), name=f"connection {self._name}", daemon=True
        )
        self._thread.start()

    def post(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the thread soon, even if it waits for space in the event buffer.

        Each such interruption adds one delivery to an event buffer that is full.
        """
        self._calls.append(callback)
        self.loop.add_callback_threadsafe(self._run_one)
        self._event_buffer.look_again()

    def post_unhurried(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the thread, after any wait for space in the event buffer."""
        self.loop.add_callback_threadsafe(callback)

    def ask(
        self,
        callback: Callable[[], object],
        answer: "Future[_T]",
        patience_seconds: float | None = None,
    ) -> _T:
        """Run `callback` in the thread and wait until `answer` is there.

        Raises:
            TimeoutError: if it is not there in time.
            ConnectionClosedError: if the thread ends first, or has ended.
        """
        with self._lock:
            self.check_open()
            self._answers.add(answer)
        try:
            self.post(callback)
            return answer.result(patience_seconds)
        finally:
            with self._lock:
                self._answers.discard(answer)

    def check_open(self) -> None:
        """Raise if the thread cannot be asked any more.

        Raises:
            ConnectionClosedError: if `shut` was called, or the thread ended.
            LoginRefusedError: if it ended over that.
        """
        if self._ended:
            raise self._ended
        if self._closing:
            raise ConnectionClosedError(f"the connection {self._name!r} is closed")

    def shut(self) -> bool:
        """Refuse further `ask` calls; posts still run. True for the first call while it runs."""
        with self._lock:
            first, self._closing = not self._closing, True
        if self._thread is None:
            self.loop.close()
            return False
        return first and not self._ended

    def stop(self, error: Exception | None) -> None:
        """End the thread, over `error` if there is one. Called in the thread."""
        self._ended = error
        self.loop.stop()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the thread has ended; False if it has not in time."""
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run_one(self) -> None:
        self._calls.popleft()()

    def _run(self, reconnector: Reconnector) -> None:
        reason: Exception = ConnectionClosedError(f"the connection {self._name!r} is closed")
        for step in (reconnector.connect, reconnector.abort):
            try:
                step()
                self.loop.start()
                break
            except Exception as bug:
                if reconnector.is_stopping and isinstance(bug, AssertionError):
                    continue  # pika 1.4 does not expect to be closed in the middle of a handshake
                _logger.exception("the I/O thread of the connection %r failed", self._name)
                reason = ConnectionClosedError(f"the connection {self._name!r} failed: {bug!r}")
        with self._lock:
            self._ended = self._ended or reason
            for answer in self._answers:
                if not answer.done():
                    answer.set_exception(self._ended)
        self._on_ended(self._ended)
        self.loop.close()
