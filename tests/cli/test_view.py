"""Facts about what people and programs see of a run."""

import errno
import io
import json
import sys
from typing import Any

import pytest
from rich.console import Console

from fanfold.cli import view
from fanfold.cli.view import JsonView, LinesView, LiveView, View, sentence

ROUND: dict[str, Any] = {
    "round": 2,
    "version": 2,
    "updates": 4,
    "examples": 1437,
    "loss": 0.5,
    "accuracy": None,
    "seconds": 1.25,
    "bytes_down": 1_056_160,
    "bytes_up": 1_056_160,
}


def test_json_is_exactly_what_programs_rely_on(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line; a round has these fields and no others."""
    with JsonView() as shown:
        shown.say("round_closed", {**ROUND, "metrics": {"f1": 0.5}})
        shown.say("run_finished", {"rounds": 2, "accuracy": 0.5})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"event": "round_closed", **ROUND},
        {"event": "run_finished", "rounds": 2, "accuracy": 0.5},
    ]


def test_what_a_task_prints_does_not_spoil_json(capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to standard error."""
    with JsonView() as shown:
        sys.stdout.write("hello from the user's network\n")
        shown.say("stopping", {"reason": "test"})
    captured = capsys.readouterr()
    assert captured.out == '{"event": "stopping", "reason": "test"}\n'
    assert "hello" in captured.err


def test_lines_are_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal."""
    with LinesView() as shown:
        shown.say("round_closed", ROUND)
    assert capsys.readouterr().out == (
        "round 2: version 2, 4 updates of 1437 examples, loss 0.5000, accuracy -, "
        "1.1 MB down, 1.1 MB up, 1.25 s\n"
    )


SPENT = {"epsilon_zero_out": 4.37718, "epsilon_replace_one": 9.9123, "delta": 1e-05}


def test_a_private_round_tells_what_it_spent(capsys: pytest.CaptureFixture[str]) -> None:
    """In a line for people, and as numbers for programs."""
    spent = {**ROUND, **SPENT}
    with LinesView() as shown:
        shown.say("round_closed", spent)
    assert capsys.readouterr().out.endswith(
        ", epsilon 4.377 (zero-out) or 9.912 (replace-one) at delta 1e-05\n"
    )
    with JsonView() as shown_to_programs:
        shown_to_programs.say("round_closed", spent)
    assert json.loads(capsys.readouterr().out) == {"event": "round_closed", **spent}


@pytest.mark.parametrize(("more", "has_column"), [({}, False), (SPENT, True)])
def test_the_live_table_has_a_column_for_what_a_private_run_spends(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, float], has_column: bool
) -> None:
    """And none for others."""
    screen = io.StringIO()
    monkeypatch.setattr(
        view, "Console", lambda: Console(file=screen, force_terminal=True, width=120)
    )
    with LiveView() as shown:
        shown.say("round_closed", {**ROUND, **more})
    for shown_once in ("epsilon", "zero", "replace", "4.377", "9.912"):
        assert (shown_once in screen.getvalue()) is has_column


def test_an_event_without_a_sentence_is_told_all_the_same() -> None:
    """By its name and its fields."""
    assert sentence("run_resumed", {"run": "a1", "version": 3}) == "run resumed: run a1, version 3"
    assert sentence("quiet", {}) == "quiet"
    refused = {"refused": "non-finite values (ann)", "for": "1 updates", "present": 1}
    assert sentence("waiting", refused) == (
        "refused: non-finite values (ann); waiting for 1 updates; 1 participants are present"
    )
    assert sentence("all_refused", refused | {"round": 3, "for": "others for 30 s"}) == (
        "round 3: all who are present were refused: non-finite values (ann); "
        "waiting for others for 30 s"
    )
    assert sentence("participants_left_out", refused | {"round": 3, "participants": 1}) == (
        "round 3 left out 1 of 1 participants, who were refused: non-finite values (ann)"
    )
    assert sentence("waiting", {"for": "4 participants", "present": 1}) == (
        "waiting for 4 participants; 1 participants are present"
    )


def test_the_live_view_is_a_table_a_bar_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds become rows, the end stays on the screen, and brackets are no markup."""
    screen = io.StringIO()
    monkeypatch.setattr(
        view, "Console", lambda: Console(file=screen, force_terminal=True, width=120)
    )
    shown = LiveView()
    with shown:
        shown.say("run_started", {"rounds": 2, "version": 0, "task": "digits"})
        shown.say("round_closed", ROUND)
        shown.say("disk_full", {"folder": "[red]"})
        shown.say(
            "run_finished", {"rounds": 2, "accuracy": 0.5, "model": "runs/[run]/m.safetensors"}
        )
    text = screen.getvalue()
    assert "1437" in text
    assert "2/2" in text
    assert "no room in [red]" in text
    assert "runs/[run]/m.safetensors" in text


def test_words_of_strangers_forge_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason of a goodbye, with a line break and an escape sequence in it."""
    with LinesView() as shown:
        shown.say("participant_left", {"reason": "bye\nround 7: \x1b[2Jversion 7"})
    assert capsys.readouterr().out == (
        "participant left: reason bye\\nround 7: \\x1b[2Jversion 7\n"
    )


class SmallDisk(io.RawIOBase):
    """A file on a disk that has no room at first."""

    def __init__(self) -> None:
        self.content = b""
        self.is_full = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += bytes(data)
        return len(data)


@pytest.mark.parametrize("kind", [JsonView, LinesView])
def test_a_full_disk_under_what_is_printed_ends_nothing(
    kind: type[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--json > file` beside the checkpoint: the run waits for room, and must live to see it."""
    events: list[tuple[str, dict[str, Any]]] = [
        ("disk_full", {"folder": "a folder with a name that is longer than a buffer" * 2}),
        ("disk_full", {"folder": "out"}),
        ("run_finished", {"rounds": 2, "accuracy": 0.5, "model": "m"}),
    ]
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", expected := io.StringIO())
        shown = kind()
        for event in events:
            shown.say(*event)
    disk = SmallDisk()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(disk, 64)))
    shown = kind()
    for event in events:
        disk.is_full = event[0] == "disk_full"
        shown.say(*event)
    lines = disk.content.decode().splitlines()
    whole = expected.getvalue().splitlines()
    assert lines[-1] == whole[-1]
    assert set(lines) <= set(whole)
