"""One training at a time: the run that has waited longest is next."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Self

from fanfold.learning import TrainingAbandoned


class Turns:
    """The line in which the runs of one process wait for its device.

    Torch's generators and the device belong to the whole process: whoever builds a network or
    trains holds the turn.
    """

    def __init__(self) -> None:
        self._line: deque[Turn] = deque()
        """The first one has the turn."""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many have the turn or wait for it."""
        return len(self._line)

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the line is so; return whether it is."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def turn(self) -> "Turn":
        """Return the turn of one more run, which it takes again and again."""
        return Turn(self._line, self._changed)


class Turn:
    """The turn of one run; a context manager for one thread of it.

    Entering waits until all who came before have left.

    Raises:
        TrainingAbandoned: on entering, if it was withdrawn.
    """

    def __init__(self, line: "deque[Turn]", changed: threading.Condition) -> None:
        self._line = line
        self._changed = changed
        self._is_withdrawn = False

    def __enter__(self) -> Self:
        with self._changed:
            self._line.append(self)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_withdrawn or self._line[0] is self)
            if self._is_withdrawn:
                self._leave()
                raise TrainingAbandoned(0, 0)
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._leave()

    def withdraw(self) -> None:
        """Never wait again; called from any thread. Who has the turn keeps it until it is done."""
        with self._changed:
            self._is_withdrawn = True
            self._changed.notify_all()

    def _leave(self) -> None:
        self._line.remove(self)
        self._changed.notify_all()
