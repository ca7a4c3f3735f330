"""Ends a part of a check that hangs, and says where it hung."""

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fanfold.learning import TaskError, users_line


class TimeLimit:
    """Ends each part of a check that takes too long.

    Args:
        seconds: the most that a part may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._doing = "the check"

    def begin(self, doing: str) -> None:
        """Begin another part, such as "building the network"; its time starts now."""
        self._doing = doing
        if threading.current_thread() is threading.main_thread():  # no other hears signals
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch over the parts that begin in here.

        Raises:
            TaskError: if one takes too long; at the line of the task's own code that runs then.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGALRM, self._end)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _end(self, _signal: int, frame: FrameType | None) -> None:
        where = users_line(traceback.extract_stack(frame)) or " in the library's own code"
        raise TaskError(
            f"{self._doing} hangs{where}: it took more than {self._seconds:g} seconds; mend that, "
            "or allow more with --limit-seconds"
        )
