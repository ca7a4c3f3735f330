"""Where a thread that decides waits for events, and how it is asked to stop there."""

import math
import time
from collections.abc import Callable

from fanfold.transport.event_buffer import EventBuffer
from fanfold.transport.events import Stop


class StoppedError(Exception):
    """Raised once a `Stop` was read; no error of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EventReader:
    """Reads events and waits; a stop is noticed in every wait.

    Belongs to one thread. All deadlines are judged by this clock.
    """

    def __init__(
        self, event_buffer: EventBuffer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read from `event_buffer`; `clock` gives seconds, and never goes back."""
        self._event_buffer = event_buffer
        self._clock = clock

    @property
    def now(self) -> float:
        """Seconds on the clock."""
        return self._clock()

    @property
    def num_unread(self) -> int:
        """How many events wait to be read."""
        return len(self._event_buffer)

    def read(self, until: float = math.inf, *, leave_deliveries: bool = False) -> object | None:
        """Return the oldest event, or None if none comes until then.

        With `leave_deliveries` those stay where they are, in their order, for a later call.

        Raises:
            StoppedError: if the event is a `Stop`.
        """
        event = self._event_buffer.get(
            None if until == math.inf else max(0.0, until - self._clock()),
            leave_deliveries=leave_deliveries,
        )
        _check(event)
        return event

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody wants us to stop; all else is read later.

        Raises:
            StoppedError: if somebody does.
        """
        _check(self._event_buffer.find(Stop, seconds))

    def check(self) -> None:
        """Notice a stop that waits to be read.

        Raises:
            StoppedError: if there is one.
        """
        self.pause(0.0)


def _check(event: object) -> None:
    if isinstance(event, Stop):
        raise StoppedError(event.reason)
