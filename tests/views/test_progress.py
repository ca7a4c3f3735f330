"""How far a run is, as scripts and notebooks show it."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fanfold.schemas.events.coordinator import RoundClosed, RunFinished, RunStarted
from fanfold.views.progress import NotebookView, ProgressView, progress_view
from fanfold.views.quiet import QuietView

STARTED = RunStarted(federation="f", run="r", epoch=1, version=0, rounds=3, task="t")
CLOSED = RoundClosed(
    round=2,
    version=2,
    updates=1,
    examples=9,
    loss=0.5,
    accuracy=0.75,
    bytes_down=1,
    bytes_up=1,
    seconds=1.0,
)
FINISHED = RunFinished(rounds=3, accuracy=0.75, model="<m>", parameters_sha256="0")


def told_by(view: Any) -> None:
    with view:
        for event in (STARTED, CLOSED, FINISHED):
            view.say(event)


def test_a_terminal_shows_a_bar_and_what_stays_to_be_said() -> None:
    stream = io.StringIO()
    told_by(ProgressView(Console(file=stream, force_terminal=True, width=100)))
    assert "round 2, loss 0.5000, accuracy 0.7500" in stream.getvalue()
    assert "2/3" in stream.getvalue()
    assert "the model is in <m>" in stream.getvalue()


def test_without_a_terminal_only_what_stays_to_be_said_is_printed() -> None:
    """On standard error, so that a script's own output stays its own."""
    stream = io.StringIO()
    told_by(ProgressView(Console(file=stream, width=40)))
    assert stream.getvalue().splitlines() == [
        "finished after 3 rounds, accuracy 0.7500; the model is in <m>"
    ]


def test_a_notebook_has_one_output_that_changes_seldom() -> None:
    """Every fifth of a second at most, and at the end; names from outside are escaped."""
    shown: list[dict[str, str]] = []

    def display(bundle: dict[str, str], **_: Any) -> Any:
        shown.append(bundle)
        return SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))

    now = iter((0.0, 0.0, 0.1, 0.15))
    told_by(NotebookView(display, lambda: next(now)))
    assert len(shown) == 3
    assert shown[-1]["text/html"] == (
        '<progress value="2" max="3"></progress> round 2, loss 0.5000, accuracy 0.7500<br>'
        "finished after 3 rounds, accuracy 0.7500; the model is in &lt;m&gt;"
    )


def test_where_it_is_shown_follows_from_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress_view(False), QuietView)
    assert isinstance(progress_view(True), ProgressView)
    shell = SimpleNamespace(kernel=object())
    here = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=print))
    monkeypatch.setitem(sys.modules, "IPython", here)
    assert isinstance(progress_view(True), NotebookView)


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    told_by(QuietView())
    assert capsys.readouterr() == ("", "")
