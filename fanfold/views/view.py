"""What people and programs see of a run."""

import json
import sys
from abc import ABC, abstractmethod
from contextlib import redirect_stdout
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fanfold.schemas.events.commands import (
    BrokerKept,
    ParticipantExited,
    PlotWritten,
    SimulationFinished,
    SimulationStarted,
)
from fanfold.schemas.events.coordinator import (
    AllRefused,
    CheckpointDamaged,
    HistoryLost,
    ModelsLost,
    ModelUnchanged,
    ParticipantRefused,
    ParticipantSilent,
    ParticipantsLeftOut,
    RoundClosed,
    RunFinished,
    RunStarted,
    UpdateRefused,
)
from fanfold.schemas.events.event import Event, Say, UnknownEvent
from fanfold.schemas.events.shared import EvaluationFailed, OptionWithoutEffect, TrainingNote
from fanfold.schemas.timestamps import Clock
from fanfold.storage.disk import may_pass
from fanfold.views.sentences import PRIVACY, line, shown
from fanfold.views.shares import shares_in_words
from fanfold.views.wall_clock import utc_now

ROWS = 20
COLUMNS = (
    "round",
    "version",
    "updates",
    "examples",
    "loss",
    "accuracy",
    "bytes_down",
    "bytes_up",
    "seconds",
)


class View(ABC):
    """Shows events; used by one thread, as a context manager."""

    def __init__(self, clock: Clock = utc_now) -> None:
        """Put the clock's time on each event that comes without one."""
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._redirection.__exit__(kind, error, traceback)

    def _show(self, event: Event) -> None:
        _print(json.dumps(event.document(), allow_nan=False), self._stream)


def _print(text: str, stream: TextIO) -> None:
    """Print a line. One that the disk refuses is kept, or left out, but never cut."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        if not may_pass(error):
            raise


class LinesView(View):
    """Plain lines, where there is no terminal."""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._view.__exit__(kind, error, traceback)

    def _show(self, event: Event) -> None:
        self._view.say(event)
        self._hear(event)


class LiveView(View):
    """A table that grows by a row per round, with a progress bar beneath it."""

    def __init__(self, console: Console | None = None, clock: Clock = utc_now) -> None:
        """Show it on a console; the terminal by default."""
        super().__init__(clock)
        self._rows: list[RoundClosed] = []
        self._note = ""
        self._progress = Progress(
            "rounds", BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._task = self._progress.add_task("rounds", total=None)
        self._console = console or Console()
        self._live = Live(self, console=self._console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __rich__(self) -> Group:
        table = Table(expand=True)
        rows = self._rows[-ROWS:]
        columns = (
            *COLUMNS,
            *(each for each in PRIVACY if any(getattr(row, each) is not None for row in rows)),
        )
        for name in columns:
            table.add_column(name.removeprefix("bytes_").replace("_", " "), justify="right")
        for row in rows:
            table.add_row(*(shown(name, getattr(row, name)) for name in columns))
        return Group(table, self._progress, Text(self._note))

    def _show(self, event: Event) -> None:
        """Show the event in its place: a row, the bar, or the line beneath."""
        match event:
            case RoundClosed():
                self._rows.append(event)
                self._progress.update(self._task, completed=event.round)
                self._note = shares_in_words(event.shares or {})
            case RunStarted() | SimulationStarted():
                self._progress.update(self._task, total=event.rounds, completed=event.version)
                self._note = line(event)
            case _ if isinstance(event, LASTING):
                self._console.print(line(event), markup=False, highlight=False)
            case _:
                self._note = line(event)


LASTING = (
    RunFinished,
    BrokerKept,
    SimulationFinished,
    PlotWritten,
    OptionWithoutEffect,
    ParticipantExited,
    ParticipantSilent,
    ParticipantRefused,
    ParticipantsLeftOut,
    AllRefused,
    UpdateRefused,
    CheckpointDamaged,
    HistoryLost,
    ModelsLost,
    EvaluationFailed,
    TrainingNote,
    ModelUnchanged,
    UnknownEvent,
)
"""Events that stay on the screen, above the table."""
