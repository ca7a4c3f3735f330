"""For whom a region speaks."""

from collections.abc import Callable

from fanfold.coordinator.observer import Members, Unobserved
from fanfold.schemas.messages import Progress


class Represented(Unobserved):
    """Counts who is present below; regions there count as those for whom they speak.

    It watches the coordinator below in that one's thread; any thread may ask.
    """

    def __init__(self) -> None:
        """Know nothing, before there is a run below."""
        self._present: Callable[[], int] | None = None
        self._members: Members = frozenset
        self._by_region: dict[str, int] = {}

    def attach(
        self, *, present: Callable[[], int], members: Members, is_ready: Callable[[], bool]
    ) -> None:
        """Take whom to ask."""
        del is_ready
        self._present, self._members, self._by_region = present, members, {}

    def progressed(self, progress: Progress) -> None:
        """Take note of what a region below says."""
        if progress.participants is not None:
            self._by_region = {**self._by_region, progress.participant: progress.participants}

    def number(self) -> int | None:
        """Return how many there are; None where there was no run yet."""
        if self._present is None:
            return None
        members, by_region = self._members(), self._by_region
        return self._present() + sum(n - 1 for name, n in by_region.items() if name in members)
