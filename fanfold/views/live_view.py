"""What people see of a run in a terminal: a table that grows, a bar, and a line beneath it."""

from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.text import Text

from fanfold.schemas.events.commands import (
    BrokerKept,
    Compared,
    PageAwaitsRun,
    PageServed,
    ParticipantExited,
    PlotWritten,
    SimulationFinished,
    SimulationStarted,
)
from fanfold.schemas.events.coordinator import (
    AllRefused,
    EndsEarly,
    ModelUnchanged,
    ParticipantRefused,
    ParticipantSilent,
    ParticipantsLeftOut,
    RoundClosed,
    RunFinished,
    RunIsAhead,
    RunRestored,
    RunStarted,
    UpdateRefused,
)
from fanfold.schemas.events.event import Event, UnknownEvent
from fanfold.schemas.events.run_folder import CheckpointDamaged, HistoryLost, ModelsLost
from fanfold.schemas.events.shared import EvaluationFailed, OptionWithoutEffect, TrainingNote
from fanfold.schemas.timestamps import Clock
from fanfold.views.comparison_table import comparison_table
from fanfold.views.rounds_table import rounds_table
from fanfold.views.sentences import line
from fanfold.views.shares import shares_in_words
from fanfold.views.view import View
from fanfold.views.wall_clock import utc_now

MOST_TABLE_LINES = 24
"""On a tall terminal: what stays above the table shall be seen, too."""
MOST_NOTE_LINES = 3
BAR_LINES = 1


class LiveView(View):
    """A table that grows by a row per round, with a progress bar beneath it.

    It fits the terminal, whatever its size is by now: the newest rounds are always visible.
    """

    def __init__(self, console: Console | None = None, clock: Clock = utc_now) -> None:
        """Show it on a console; the terminal by default."""
        super().__init__(clock)
        self._rounds: list[RoundClosed] = []
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

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __rich__(self) -> Group:
        width, height = self._console.size
        note = self._note_lines(width)
        room = min(height - BAR_LINES - len(note), MOST_TABLE_LINES)
        table = rounds_table(self._rounds, width=width, height=room)
        return Group(table, self._progress, *note)

    def _note_lines(self, width: int) -> list[Text]:
        """Return the note in a few lines; what is longer is cut."""
        lines = list(Text(self._note).wrap(self._console, width))
        if len(lines) > MOST_NOTE_LINES:
            lines = lines[:MOST_NOTE_LINES]
            lines[-1].truncate(width - 1)
            lines[-1].append("…")
        return lines

    def _show(self, event: Event) -> None:
        """Show the event in its place: a row, the bar, or the line beneath."""
        match event:
            case RoundClosed():
                self._rounds = [*self._rounds[-MOST_TABLE_LINES:], event]
                self._progress.update(self._task, completed=event.round)
                self._note = shares_in_words(event.shares or {})
            case RunStarted() | SimulationStarted():
                self._progress.update(self._task, total=event.rounds, completed=event.version)
                self._note = line(event)
            case Compared():
                self._console.print(comparison_table(event))
            case _ if isinstance(event, LASTING):
                self._console.print(line(event), markup=False, highlight=False)
            case _:
                self._note = line(event)


LASTING = (
    EndsEarly,
    RunFinished,
    BrokerKept,
    PageServed,
    PageAwaitsRun,
    SimulationFinished,
    PlotWritten,
    OptionWithoutEffect,
    ParticipantExited,
    ParticipantSilent,
    ParticipantRefused,
    ParticipantsLeftOut,
    AllRefused,
    UpdateRefused,
    RunIsAhead,
    RunRestored,
    CheckpointDamaged,
    HistoryLost,
    ModelsLost,
    EvaluationFailed,
    TrainingNote,
    ModelUnchanged,
    UnknownEvent,
)
"""Events that stay on the screen, above the table."""
