"""The queue between I/O threads and the one thread that works."""

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from fanfold.transport.events import Delivery, weight

Kind = TypeVar("Kind")

DEFAULT_EVENT_BUFFER_BYTES = 64 * 1024 * 1024


def _never() -> bool:
    return False


class EventBuffer:
    """Deliveries and events in the order in which they happened, bounded in bytes.

    Deliveries wait for free space; meanwhile the socket's buffers fill, which slows the broker
    down. Events take no space and never wait. Any thread may put, one thread gets.

    Args:
        max_bytes: of the deliveries inside, with what they take besides their bodies.
    """

    def __init__(self, max_bytes: int = DEFAULT_EVENT_BUFFER_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._events: deque[object] = deque()
        self._changed = threading.Condition()
        self._num_waiting = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def num_bytes(self) -> int:
        """Bytes of memory that the deliveries inside take, bodies and overhead."""
        return self._num_bytes

    def put(
        self,
        delivery: Delivery,
        *,
        patience_seconds: float,
        hurried: Callable[[], bool] = _never,
    ) -> None:
        """Add a delivery once there is space for it, or after `patience_seconds` in any case.

        An empty event buffer takes a delivery of any size.

        Args:
            delivery: what arrived.
            patience_seconds: the longest wait; an I/O thread also has heartbeats to send.
            hurried: returns True if the caller has something more urgent to do than to wait. It is
                called again after every `look_again`.
        """
        size = weight(delivery)
        with self._changed:
            self._num_waiting += 1
            self._changed.wait_for(
                lambda: (
                    not self._num_bytes or self._num_bytes + size <= self._max_bytes or hurried()
                ),
                patience_seconds,
            )
            self._num_waiting -= 1
            self._num_bytes += size
            self._events.append(delivery)
            self._changed.notify_all()

    def put_event(self, event: object) -> None:
        """Add anything but a delivery, at once."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def get(
        self, timeout_seconds: float | None = None, *, leave_deliveries: bool = False
    ) -> object | None:
        """Return the oldest event, or None if none comes in time; no timeout waits for ever.

        With `leave_deliveries`, deliveries stay in the buffer, in their order, for a later call.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._place(leave_deliveries=leave_deliveries) is not None, timeout_seconds
            ):
                return None
            at = self._place(leave_deliveries=leave_deliveries) or 0
            event = self._events[at]
            del self._events[at]
            if isinstance(event, Delivery):
                self._num_bytes -= weight(event)
                if self._num_waiting:
                    self._changed.notify_all()
            return event

    def find(self, kind: type[Kind], timeout_seconds: float) -> Kind | None:
        """Return an event of this kind without taking it out; None if none comes in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: next((event for event in self._events if isinstance(event, kind)), None),
                timeout_seconds,
            )

    def _place(self, *, leave_deliveries: bool) -> int | None:
        """Return where the oldest event is that may be taken; None if there is none."""
        if not leave_deliveries:
            return 0 if self._events else None
        places = (i for i, event in enumerate(self._events) if not isinstance(event, Delivery))
        return next(places, None)

    def look_again(self) -> None:
        """Make waiting `put` calls call `hurried` again."""
        # Read without the lock: a put that starts to wait just now calls `hurried` before it waits.
        if self._num_waiting:
            with self._changed:
                self._changed.notify_all()
