"""What a participant lets others watch: a seam that its work does not depend on.

`fanfold.participant.metrics` counts what it sees for Prometheus; without it nobody looks.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from fanfold.schemas.events.event import Event

Phase = Literal["decode", "train", "encode", "upload"]


class Observer(Protocol):
    """Is told what happens, by the service's thread and by the training worker's."""

    def attach(self, *, device: str, num_examples: int, is_ready: Callable[[], bool]) -> None:
        """Take who takes part, and a question that may be asked at any time, from any thread."""

    def hear(self, event: Event) -> None:
        """Take an event that people are told."""

    def phase(self, name: Phase, /) -> AbstractContextManager[None]:
        """Watch how long a part of the work takes."""
        ...


class Unobserved:
    """Nobody looks."""

    def attach(self, *, device: str, num_examples: int, is_ready: Callable[[], bool]) -> None:
        """Ask nothing."""

    def hear(self, event: Event) -> None:
        """Hear nothing."""

    def phase(self, _name: Phase, /) -> AbstractContextManager[None]:
        """Measure nothing."""
        return nullcontext()


class OneOfMany(Unobserved):
    """Watches one of several runs for an observer that was attached to the whole participant."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def hear(self, event: Event) -> None:
        """Pass it on."""
        self._observer.hear(event)

    def phase(self, name: Phase, /) -> AbstractContextManager[None]:
        """Measure it among the same parts of other runs."""
        return self._observer.phase(name)
