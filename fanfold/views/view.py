"""What people and programs see of a run."""

import sys
from abc import ABC, abstractmethod
from contextlib import redirect_stdout
from typing import Self, TextIO

from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.timestamps import Clock
from fanfold.storage.disk import may_pass
from fanfold.views.sentences import line
from fanfold.views.wall_clock import utc_now


class View(ABC):
    """Shows events; used by one thread, as a context manager."""

    def __init__(self, clock: Clock = utc_now) -> None:
        """Put the clock's time on each event that comes without one."""
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, event: Event) -> None:
        """Show an event, with the time at which it was told."""
        self._show(event if event.time is not None else event.at(self._clock()))

    @abstractmethod
    def _show(self, event: Event) -> None:
        """Show an event that carries its time."""


class JsonView(View):
    """One JSON object per line on standard output, and nothing else.

    What a user's task prints goes to standard error meanwhile.
    """

    def __init__(self, clock: Clock = utc_now) -> None:
        super().__init__(clock)
        self._stream = sys.stdout
        self._redirection = redirect_stdout(sys.stderr)

    def __enter__(self) -> Self:
        self._redirection.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._redirection.__exit__(None, None, None)

    def _show(self, event: Event) -> None:
        _print(event.json_line(), self._stream)


def _print(text: str, stream: TextIO) -> None:
    """Print a line. One that the disk refuses is kept, or left out, but never cut."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        if not may_pass(error):
            raise


class LinesView(View):
    """Plain lines, where there is no terminal that could show a table."""

    def _show(self, event: Event) -> None:
        _print(line(event), sys.stdout)


class Beside(View):
    """A view, and somebody beside it who hears the same events."""

    def __init__(self, view: View, hear: Say, clock: Clock = utc_now) -> None:
        super().__init__(clock)
        self._view = view
        self._hear = hear

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._view.__exit__(*error)

    def _show(self, event: Event) -> None:
        self._view.say(event)
        self._hear(event)
