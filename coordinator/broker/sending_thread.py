"""The publisher's thread, which sends one thing after another."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from fanfold.coordinator.broker.sending import Sending, Sent


class SendingThread:
    """Sends in the order in which that was asked for, and counts what is under way.

    While the broker is short of memory or disk it confirms nothing, for hours maybe. That stops
    this thread alone: what the work thread commits and acknowledges meanwhile is what makes room
    again. All methods belong to the work thread.

    Attributes:
        num_awaited: messages under way that a round waits for.
        num_letters: dead letters under way.
    """

    def __init__(self, deliver: Callable[[Sent], None]) -> None:
        """Send nothing yet; `deliver` takes each `Sent`, from the thread."""
        self.num_awaited = self.num_letters = 0
        self._deliver = deliver
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher")

    def submit(self, send: Callable[[], None], sending: Sending) -> Callable[[], bool]:
        """Send after all that waits; return what takes it back: False if it has begun already."""
        self._count(sending, 1)
        future = self._thread.submit(send)
        future.add_done_callback(partial(self._done, sending))

        def take_back() -> bool:
            if not future.cancel():
                return False
            self._count(sending, -1)
            return True

        return take_back

    def ended(self, sending: Sending) -> None:
        """Take note that something is under way no longer: its `Sent` was delivered."""
        self._count(sending, -1)

    def close(self) -> None:
        """Drop what waits to be sent; what is being sent ends with its connection."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _done(self, sending: Sending, future: Future[None]) -> None:
        """Tell the work thread how it ended; what was taken back never began."""
        if not future.cancelled():
            self._deliver(Sent(sending, future.exception()))

    def _count(self, sending: Sending, change: int) -> None:
        self.num_awaited += change * sending.is_awaited
        self.num_letters += change * (sending.letter is not None)
