"""Publishing from several threads, one batch at a time."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from fanfold.schemas.errors import BrokerUnreachableError
from fanfold.transport.events import Outgoing
from fanfold.transport.io.confirming_publisher import ConfirmingPublisher
from fanfold.transport.io.io_thread import IOThread
from fanfold.transport.io.publish_batch import PublishBatch


class PublishTurns:
    """Lets one batch at a time through to the publisher; the others wait for their turn.

    Every method may be called from any thread but the I/O thread.

    Args:
        io: the I/O thread.
        publisher: sends; it is used on the I/O thread only.
        window_bytes: how much is sent ahead of the broker's confirmations.
    """

    def __init__(self, io: IOThread, publisher: ConfirmingPublisher, window_bytes: int) -> None:
        self._io = io
        self._publisher = publisher
        self._window_bytes = window_bytes
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._batch: PublishBatch | None = None

    def publish(
        self,
        messages: Iterable[Outgoing],
        timeout_seconds: float | None,
        confirmed: Callable[[Outgoing], None],
    ) -> None:
        """Publish one batch and wait until all of it is confirmed; see `Connection.publish`."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._batch_until(deadline, confirmed) as batch:
            wake: Callable[[], None] = partial(self._publisher.begin, batch)
            for message in messages:
                batch.hand_over(message)
                self._io.post(wake)
                wake = self._publisher.send
            batch.wait_confirmed()

    def fail(self, error: Exception) -> None:
        """Make the batch that is under way, if there is one, raise."""
        with self._lock:
            if self._batch is not None:
                self._batch.fail(error)

    def wait_idle(self, timeout_seconds: float) -> None:
        """Wait until no batch is under way, or time is up."""
        if self._turn.acquire(timeout=timeout_seconds):
            self._turn.release()

    @contextmanager
    def _batch_until(
        self, deadline: float | None, confirmed: Callable[[Outgoing], None]
    ) -> Iterator[PublishBatch]:
        patience = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._turn.acquire(timeout=patience):
            raise BrokerUnreachableError("the publish before this one is not confirmed yet")
        try:
            batch = PublishBatch(self._window_bytes, deadline, confirmed)
            with self._lock:  # whoever ends the thread fails the batch that it finds here
                self._batch = batch
            self._io.check_open()
            yield batch
        except BaseException:
            self._io.post(partial(self._publisher.drop, batch))
            raise
        finally:
            with self._lock:
                self._batch = None
            self._turn.release()
