"""How far a run is, for scripts and notebooks: one line that changes, and what stays to be said."""

import html
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fanfold.schemas.events.commands import SimulationStarted
from fanfold.schemas.events.coordinator import RoundClosed, RunStarted
from fanfold.schemas.events.event import Event
from fanfold.views.live_view import LASTING
from fanfold.views.quiet import QuietView
from fanfold.views.sentences import sentence, shown
from fanfold.views.view import View

SECONDS_BETWEEN = 0.2
"""How often a notebook's output changes at most: each change is a message to the browser."""


class ProgressView(View):
    """A bar with the last round beside it, on standard error; lasting events above it.

    Without a terminal, only the lasting events.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("rounds", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, event: Event) -> None:
        match event:
            case RoundClosed():
                self._progress.update(self._bar, completed=event.round, description=_now(event))
            case RunStarted() | SimulationStarted():
                self._progress.update(self._bar, total=event.rounds, completed=event.version)
            case _ if isinstance(event, LASTING):
                self._console.print(sentence(event), markup=False, highlight=False, soft_wrap=True)


class NotebookView(View):
    """One output that changes: a bar, the last round, and the lasting events beneath it."""

    def __init__(self, display: Callable[..., Any], clock: Callable[[], float]) -> None:
        """Show it with IPython's `display`; `clock` is monotonic, in seconds."""
        super().__init__()
        self._display = display
        self._monotonic = clock
        self._handle: Any = None
        self._now = "waiting for round 1"
        self._lasting: list[str] = []
        self._round, self._rounds = 0, 0
        self._shown_at = -SECONDS_BETWEEN

    def __enter__(self) -> Self:
        self._handle = self._display(self._bundle(), raw=True, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.update(self._bundle(), raw=True)

    def _show(self, event: Event) -> None:
        match event:
            case RoundClosed():
                self._round, self._now = event.round, _now(event)
            case RunStarted() | SimulationStarted():
                self._round, self._rounds = event.version, event.rounds or 0
            case _ if isinstance(event, LASTING):
                self._lasting.append(sentence(event))
            case _:
                return
        if self._monotonic() - self._shown_at >= SECONDS_BETWEEN:
            self._handle.update(self._bundle(), raw=True)
            self._shown_at = self._monotonic()

    def _bundle(self) -> dict[str, str]:
        lines = [self._now, *self._lasting]
        bar = f'<progress value="{self._round}" max="{self._rounds}"></progress> '
        body = "<br>".join(map(html.escape, lines))
        return {"text/plain": "\n".join(lines), "text/html": (bar if self._rounds else "") + body}


def progress_view(wanted: bool) -> View:
    """Return what shows how far a run is: in a notebook its output, else a bar in the terminal."""
    if not wanted:
        return QuietView()
    ipython = sys.modules.get("IPython")  # a notebook has loaded it
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is not None and hasattr(shell, "kernel"):
        return NotebookView(ipython.display.display, time.monotonic)
    return ProgressView()


def _now(closed: RoundClosed) -> str:
    metrics = {"loss": closed.loss, "accuracy": closed.accuracy}
    told = [f"{name} {shown(name, value)}" for name, value in metrics.items() if value is not None]
    return ", ".join([f"round {closed.round}", *told])
