"""What a coordinator lets others watch: a seam that the round does not depend on.

`fanfold.coordinator.metrics` counts what it sees for Prometheus; without it nobody looks.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from fanfold.schemas.events.event import Event

Phase = Literal["publish", "decode", "aggregate", "checkpoint"]


class Observer(Protocol):
    """Is told what happens, in the coordinator's work thread."""

    def attach(self, *, present: Callable[[], int], is_ready: Callable[[], bool]) -> None:
        """Take two questions that may be asked at any time, from any thread.

        Args:
            present: how many participants there are.
            is_ready: whether the coordinator is connected, holds its lock and receives.
        """

    def hear(self, event: Event) -> None:
        """Take an event that people are told."""

    def phase(self, name: Phase, /) -> AbstractContextManager[None]:
        """Watch how long a part of the work takes."""
        ...

    def folded(self, staleness: int) -> None:
        """Count an update that went into the sum."""

    def refused(self, reason: str) -> None:
        """Count an update that was refused."""


class Unobserved:
    """Nobody looks."""

    def attach(self, *, present: Callable[[], int], is_ready: Callable[[], bool]) -> None:
        """Ask nothing."""

    def hear(self, event: Event) -> None:
        """Hear nothing."""

    def phase(self, _name: Phase, /) -> AbstractContextManager[None]:
        """Measure nothing."""
        return nullcontext()

    def folded(self, staleness: int) -> None:
        """Count nothing."""

    def refused(self, reason: str) -> None:
        """Count nothing."""
