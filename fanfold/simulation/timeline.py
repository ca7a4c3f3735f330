"""Events in the order of simulated time."""

import heapq
from typing import Generic, TypeVar

Event = TypeVar("Event")


class Timeline(Generic[Event]):
    """Future events, the earliest first; those at the same time in the order they were added.

    Adding and taking cost the logarithm of the number of events.
    """

    def __init__(self) -> None:
        """Make a timeline without events."""
        self._heap: list[tuple[float, int, Event]] = []
        self._num_added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, time: float, event: Event) -> None:
        """Add an event at `time`, in simulated seconds."""
        heapq.heappush(self._heap, (time, self._num_added, event))
        self._num_added += 1

    @property
    def next_time(self) -> float:
        """The time of the next event; infinity if there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def take(self) -> tuple[float, Event]:
        """Remove and return the next event and its time.

        Raises:
            IndexError: if there is none.
        """
        time, _, event = heapq.heappop(self._heap)
        return time, event
