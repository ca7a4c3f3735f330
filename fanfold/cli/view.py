"""What people and programs see of a run."""

import json
import sys
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fanfold.cli.shares import shares_in_words
from fanfold.monitoring.printable import printable
from fanfold.storage.disk import may_pass

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

PRIVACY = ("epsilon_zero_out", "epsilon_replace_one", "delta")
"""What a private run has spent at most on any one participant, whose updates are zero in the
neighbouring run, or any others.
"""


class View(ABC):
    """Takes events by name; used by one thread, as a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @abstractmethod
    def say(self, event: str, fields: dict[str, Any]) -> None:
        """Show an event."""


class JsonView(View):
    """One JSON object per line on standard output, and nothing else.

    What a user's task prints goes to standard error meanwhile.
    """

    def __init__(self) -> None:
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

    def say(self, event: str, fields: dict[str, Any]) -> None:
        """Print the event; of a round, exactly the fields that programs rely on."""
        if event == "round_closed":
            fields = {
                name: fields[name] for name in (*COLUMNS, *PRIVACY, "shares") if name in fields
            }
        _print(json.dumps({"event": event, **fields}, allow_nan=False), self._stream)


def _print(line: str, stream: TextIO) -> None:
    """Print a line. One that the disk refuses is kept, or left out, but never cut."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except OSError as error:
        if not may_pass(error):
            raise


class LinesView(View):
    """Plain lines, where there is no terminal."""

    def say(self, event: str, fields: dict[str, Any]) -> None:
        """Print the event as a sentence."""
        _print(sentence(event, fields), sys.stdout)


class Beside(View):
    """A view, and somebody beside it who hears the same events."""

    def __init__(self, view: View, hear: Callable[[str, dict[str, Any]], None]) -> None:
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

    def say(self, event: str, fields: dict[str, Any]) -> None:
        """Show the event, and let it be heard."""
        self._view.say(event, fields)
        self._hear(event, fields)


class LiveView(View):
    """A table that grows by a row per round, with a progress bar beneath it."""

    def __init__(self, console: Console | None = None) -> None:
        """Show it on a console; the terminal by default."""
        self._rows: list[dict[str, Any]] = []
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
        columns = (*COLUMNS, *(name for name in PRIVACY if any(name in row for row in rows)))
        for name in columns:
            table.add_column(name.removeprefix("bytes_").replace("_", " "), justify="right")
        for row in rows:
            table.add_row(*(_shown(name, row.get(name)) for name in columns))
        return Group(table, self._progress, Text(self._note))

    def say(self, event: str, fields: dict[str, Any]) -> None:
        """Show the event in its place: a row, the bar, or the line beneath."""
        match event:
            case "round_closed":
                self._rows.append(fields)
                self._progress.update(self._task, completed=fields["round"])
                self._note = shares_in_words(fields.get("shares", {}))
            case "run_started":
                self._progress.update(
                    self._task, total=fields["rounds"], completed=fields["version"]
                )
                self._note = sentence(event, fields)
            case _ if event in _LASTING:
                self._console.print(sentence(event, fields), markup=False, highlight=False)
            case _:
                self._note = sentence(event, fields)


_LASTING = {
    "run_finished",
    "broker_kept",
    "simulation_finished",
    "plot_written",
    "option_without_effect",
    "participant_exited",
    "participant_silent",
    "participant_refused",
    "participants_left_out",
    "all_refused",
    "update_refused",
    "checkpoint_damaged",
    "history_lost",
    "models_lost",
    "evaluation_failed",
    "training_note",
    "model_unchanged",
}
"""Events that stay on the screen, above the table."""

_SENTENCES = {
    "round_closed": (
        "round {round}: version {version}, {updates} updates of {examples} examples, "
        "loss {loss}, accuracy {accuracy}, {bytes_down} down, {bytes_up} up, {seconds} s"
    ),
    "run_finished": "finished after {rounds} rounds, accuracy {accuracy}; the model is in {model}",
    "simulation_finished": (
        "{mode}: {rounds} rounds, {updates} updates in {simulated_seconds} simulated seconds, "
        "accuracy {accuracy}; the history is in {history}"
    ),
    "evaluation_failed": "version {version} was not evaluated, and the run goes on: {reason}",
    "training_note": "{note}",
    "model_unchanged": "after {rounds} rounds nothing was learned; is --lr too small for it?",
    "option_without_effect": "{option} has no effect: {reason}",
    "plot_written": "the plot is in {plot}",
    "broker_kept": (
        "the broker stays until Ctrl-C: management UI {management}, user {user}, "
        "password {password} (also in {password_file})"
    ),
    "standing_by": "another coordinator runs the federation {federation}: standing by",
    "id_taken": "another instance holds the id {participant}: trying again until it is free",
    "folder_locked": (
        "waiting for {folder}: {holder} holds its lock, in the middle of writing perhaps; "
        "if it hangs, end it"
    ),
    "upload_damaged": (
        "{chunks} chunks of {participant}'s update of version {base_version} were damaged on the "
        "disk; asked again: {is_asked_again}"
    ),
    "models_lost": "latest models in {folder} are damaged, and do not count: of {participants}",
    "history_lost": (
        "{reason}: going on with the {lines_left} lines that are left; the damaged history is kept "
        "in {damaged}"
    ),
    "disk_full": "no room in {folder} ({reason}): waiting until there is some",
    "disk_refuses": "{folder} cannot be written to ({reason}): waiting until it can",
    "waiting": "waiting for {for}; {present} participants are present",
    "all_refused": "round {round}: all who are present were refused: {refused}; waiting for {for}",
    "participants_left_out": (
        "round {round} left out {participants} of {present} participants, who were refused: "
        "{refused}"
    ),
    "participant_exited": "{participant} ended with exit code {code}: {reason}",
    "participant_silent": "nothing was heard of {participant} in round {round}: not waiting for it",
    "slot_claimed": "taking part as {participant}, one of {slots}",
    "waiting_for_slot": "all {slots} slots are taken: waiting until one is free",
    "queue_down": "the broker node with the queue of {participant} is down: waiting for it",
    "participant_out_of_reach": "{participant} is out of reach: its queue's broker node is down",
    "version_of_older_epoch": (
        "version {version} of run {run} is dropped: epoch {epoch} is older than {newest_epoch}; if "
        "no other coordinator runs, write {newest_epoch} into its file `epoch` and restart it"
    ),
    "state_dir_taken": "another process uses --state-dir {folder}: waiting until it ends",
    "state_is_older": (
        "--state-dir is of version {version}, and {newest} is here: if it comes from a backup, "
        "what top-k owes would be sent twice: then stop this participant and remove {file}"
    ),
    "waiting_for_coordinator": "no coordinator of the federation {federation} yet: waiting",
}


def sentence(event: str, fields: dict[str, Any]) -> str:
    """Return an event as a line for people."""
    template = _SENTENCES.get(event)
    shown = {name: _shown(name, value) for name, value in fields.items()}
    if template is not None:
        line = template.format_map(defaultdict(lambda: "-", shown))
        if event == "round_closed" and fields.get("epsilon_zero_out") is not None:
            line += (
                f", epsilon {shown['epsilon_zero_out']} (zero-out) or "
                f"{shown['epsilon_replace_one']} (replace-one) at delta {shown['delta']}"
            )
        if event == "round_closed" and fields.get("shares"):
            line += f"; {shares_in_words(fields['shares'])}"
        if event == "waiting" and fields.get("refused"):
            line = f"refused: {shown['refused']}; {line}"
        return line
    words = ", ".join(f"{name} {value}" for name, value in shown.items())
    return f"{event.replace('_', ' ')}: {words}" if words else event.replace("_", " ")


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in {"loss", "accuracy"}:
        return f"{value:.4f}"
    if name in {"bytes", "bytes_down", "bytes_up"}:
        return decimal(value)
    if name in PRIVACY:
        return f"{value:.4g}"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))
