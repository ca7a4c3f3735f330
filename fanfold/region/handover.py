"""Between the thread that takes part above and the one that coordinates below."""

import threading
from collections.abc import Callable

from fanfold.learning import TrainingAbandoned
from fanfold.region.sums import RegionalSum, VersionFromAbove
from fanfold.schemas.events.participant import RunOver


class Handover:
    """Hands versions down and sums up. Every method may be called by any thread.

    A run is over once that was said above, or once a version of another run came.
    """

    def __init__(self) -> None:
        """Begin with nothing to hand over."""
        self._changed = threading.Condition()
        self._version: VersionFromAbove | None = None
        """The newest one that is to be answered."""
        self._sum: tuple[str, RegionalSum] | None = None
        """The newest one, and the digest of the version that it answers."""
        self._over: RunOver | None = None
        """The end that was said last."""
        self._is_closed = False
        self._failure: BaseException | None = None
        self.wake: Callable[[], None] = lambda: None
        """Is called when something came for the thread that coordinates below."""

    # -- above

    def sum_for(self, version: VersionFromAbove, should_stop: Callable[[], bool]) -> RegionalSum:
        """Hand a version down, and wait for the sum of its round.

        Raises:
            TrainingAbandoned: if told to stop meanwhile.
            BaseException: that with which the thread below has ended.
        """
        with self._changed:
            self._version = version
            if self.outcome(version.message.run) is not None:  # it goes on, with more rounds
                self._over = None
            self._tell()
            while self._sum is None or self._sum[0] != version.digest:
                if self._failure is not None:
                    raise self._failure
                if should_stop():
                    raise TrainingAbandoned(0, 0)
                self._changed.wait()
            return self._sum[1]

    def finished(self, over: RunOver) -> None:
        """Say that a run is over above."""
        with self._changed:
            self._over = over
            self._tell()

    def look(self) -> None:
        """Have those who wait look again whether they should stop."""
        with self._changed:
            self._tell()

    def close(self) -> None:
        """Hand nothing down any more."""
        with self._changed:
            self._is_closed = True
            self._tell()

    # -- below

    def wait(self) -> VersionFromAbove | None:
        """Wait for a version of a run that is not over; None at the end."""
        with self._changed:
            while not self._is_closed:
                version = self._version
                if version is not None and self.outcome(version.message.run) is None:
                    return version
                self._changed.wait()
            return None

    def after(self, digest: str) -> VersionFromAbove | None:
        """Return the version that came after the one of a digest, if one did."""
        version = self._version
        return None if version is None or version.digest == digest else version

    def is_over(self, run: str) -> bool:
        """Whether a run is over above."""
        version = self._version
        is_past = version is not None and version.message.run != run
        return is_past or self.outcome(run) is not None

    def outcome(self, run: str) -> RunOver | None:
        """Return what was said above of the end of a run, if it was."""
        over = self._over
        return over if over is not None and over.run == run else None

    def answer(self, digest: str, total: RegionalSum) -> None:
        """Hand the sum of a round up."""
        with self._changed:
            self._sum = (digest, total)
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Say that nothing will be handed up any more."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _tell(self) -> None:
        self._changed.notify_all()
        self.wake()
