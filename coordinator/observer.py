"""What a coordinator lets others watch: a seam that the round does not depend on.

`fanfold.coordinator.metrics` counts what it sees for Prometheus; without it nobody looks.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal, Protocol

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.rounds.closing_rule import OpenRound
from fanfold.schemas.events.event import Event
from fanfold.schemas.messages import Progress

Members = Callable[[], AbstractSet[str]]
Phase = Literal["publish", "decode", "aggregate", "checkpoint"]

UNMEASURED = nullcontext()
"""What `Unobserved.phase` returns; it has no state, so that one is enough."""


class Observer(Protocol):
    """Is told what happens, in the coordinator's work thread."""

    def attach(
        self, *, present: Callable[[], int], members: Members, is_ready: Callable[[], bool]
    ) -> None:
        """Take three questions that may be asked at any time, from any thread.

        Args:
            present: how many participants there are.
            members: which of them were to get the current version.
            is_ready: whether the coordinator is connected, holds its lock and receives.
        """

    def hear(self, event: Event) -> None:
        """Take an event that people are told."""

    def phase(self, name: Phase, /) -> AbstractContextManager[None]:
        """Watch how long a part of the work takes."""
        ...

    def opened(self, opened: OpenRound) -> None:
        """Take note of a round that begins."""

    def folded(self, contribution: Contribution) -> None:
        """Count an update that went into the sum."""

    def refused(self, reason: str) -> None:
        """Count an update that was refused."""

    def progressed(self, progress: Progress) -> None:
        """Take note of what a participant says that it does."""


class Unobserved:
    """Nobody looks."""

    def attach(
        self, *, present: Callable[[], int], members: Members, is_ready: Callable[[], bool]
    ) -> None:
        """Ask nothing."""

    def hear(self, event: Event) -> None:
        """Hear nothing."""

    def phase(self, _name: Phase, /) -> AbstractContextManager[None]:
        """Measure nothing."""
        return UNMEASURED

    def opened(self, opened: OpenRound) -> None:
        """Note nothing."""

    def folded(self, contribution: Contribution) -> None:
        """Count nothing."""

    def refused(self, reason: str) -> None:
        """Count nothing."""

    def progressed(self, progress: Progress) -> None:
        """Note nothing."""


class Observers(Unobserved):
    """Several, one after the other."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def attach(
        self, *, present: Callable[[], int], members: Members, is_ready: Callable[[], bool]
    ) -> None:
        """Let all of them ask."""
        for each in self._observers:
            each.attach(present=present, members=members, is_ready=is_ready)

    def hear(self, event: Event) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.hear(event)

    def phase(self, name: Phase, /) -> AbstractContextManager[None]:
        """Let all of them take the time; nearly always that is one."""
        phases = [each.phase(name) for each in self._observers]
        match [each for each in phases if each is not UNMEASURED]:
            case []:
                return UNMEASURED
            case [measured]:
                return measured
            case several:
                return _together(several)

    def opened(self, opened: OpenRound) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.opened(opened)

    def folded(self, contribution: Contribution) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.folded(contribution)

    def refused(self, reason: str) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.refused(reason)

    def progressed(self, progress: Progress) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.progressed(progress)


@contextmanager
def _together(phases: Sequence[AbstractContextManager[None]]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in phases:
            stack.enter_context(each)
        yield
