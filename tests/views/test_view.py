"""Facts about what people and programs see of a run."""

import errno
import io
import json
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from fanfold.cli.showing import view_of
from fanfold.schemas.events.coordinator import (
    AllRefused,
    EndsEarly,
    ParticipantLeft,
    ParticipantsLeftOut,
    RoundClosed,
    RunFinished,
    RunResumed,
    RunStarted,
    Stopping,
    Waiting,
)
from fanfold.schemas.events.event import UnknownEvent
from fanfold.schemas.events.participant import UpdateSent
from fanfold.schemas.events.shared import DiskFull
from fanfold.views.live_view import LiveView
from fanfold.views.rounds_table import columns_of
from fanfold.views.sentences import sentence
from fanfold.views.view import JsonView, LinesView, View

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
TIME = "2026-03-01T12:30:00.000Z"

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


FINISHED = RunFinished(2, 0.5, model="runs/[run]/m.safetensors", parameters_sha256="0f")


def at_noon() -> datetime:
    return NOW


def test_json_is_exactly_what_programs_rely_on(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line; a round has these fields and no others."""
    with JsonView(at_noon) as shown:
        shown.say(RoundClosed(**ROUND, metrics={"f1": 0.5}, not_finite=()))
        shown.say(FINISHED)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"event": "round_closed", "time": TIME, **ROUND, "metrics": {"f1": 0.5}},
        {
            "event": "run_finished",
            "time": TIME,
            "rounds": 2,
            "accuracy": 0.5,
            "model": "runs/[run]/m.safetensors",
            "parameters_sha256": "0f",
        },
    ]


def test_a_number_that_is_not_finite_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A participant whose training diverged goes on: its loss is told, and JSON has no NaN."""
    with JsonView(at_noon) as shown:
        shown.say(UpdateSent("1f", 3, 3272, loss=math.nan, seconds=0.5))
        shown.say(RoundClosed(**ROUND, metrics={"f1": math.inf}))
    sent, closed = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (sent["loss"], sent["seconds"]) == (None, 0.5)
    assert closed["metrics"] == {"f1": None}


def test_the_last_line_says_why_a_run_ended_early(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "loss reached 0.5 (--until loss:0.5)"
    with LinesView(at_noon) as shown:
        shown.say(EndsEarly(version=2, reason=reason))
        shown.say(replace(FINISHED, reason=reason))
    assert capsys.readouterr().out.splitlines() == [
        f"{TIME} the run ends with version 2: {reason}",
        f"{TIME} {sentence(FINISHED)}; it ended early: {reason}",
    ]


def test_a_round_with_regions_says_how_many_updates_their_sums_hold() -> None:
    """In lines and in the table."""
    closed = RoundClosed(**ROUND | {"updates": 2}, single_updates=40)
    assert "; 40 updates with those in the sums of regions" in sentence(closed)
    (cell,) = next(each.cells for each in columns_of([closed]) if each.name == "updates")
    assert cell == "2 (40)"


def test_a_mean_of_participants_is_no_measurement_of_the_coordinators() -> None:
    """Where part of a model is private, lines, table and end say whose accuracy it is."""
    theirs = RoundClosed(**ROUND | {"accuracy": 0.75}, measured_by="participants")
    ended = RunFinished(2, 0.75, model="m", parameters_sha256="0f", measured_by="participants")
    for event in (theirs, ended):
        assert "accuracy 0.7500 (participants' mean)" in sentence(event)
    assert "mean)" not in sentence(RoundClosed(**ROUND | {"accuracy": 0.75}))
    console = Console(width=160, file=io.StringIO(), record=True)
    live = LiveView(console)
    live.say(theirs)
    console.print(live)
    assert "participants' mean" in console.export_text()


def test_what_a_task_prints_does_not_spoil_json(capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to standard error."""
    with JsonView(at_noon) as shown:
        sys.stdout.write("hello from the user's network\n")
        shown.say(Stopping("test"))
    captured = capsys.readouterr()
    assert captured.out == f'{{"event": "stopping", "time": "{TIME}", "reason": "test"}}\n'
    assert "hello" in captured.err


def test_lines_are_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal."""
    with LinesView(at_noon) as shown:
        shown.say(RoundClosed(**ROUND))
    assert capsys.readouterr().out == (
        f"{TIME} round 2: version 2, 4 updates of 1437 examples, loss 0.5000, accuracy -, "
        "1.1 MB down, 1.1 MB up, 1.25 s\n"
    )


SPENT = {"epsilon_zero_out": 4.37718, "epsilon_replace_one": 9.9123, "delta": 1e-05}


def test_a_private_round_tells_what_it_spent(capsys: pytest.CaptureFixture[str]) -> None:
    """In a line for people, and as numbers for programs."""
    spent = {**ROUND, **SPENT}
    with LinesView() as shown:
        shown.say(RoundClosed(**spent))
    assert capsys.readouterr().out.endswith(
        ", epsilon 4.377 (zero-out) or 9.912 (replace-one) at delta 1e-05\n"
    )
    with JsonView(at_noon) as shown_to_programs:
        shown_to_programs.say(RoundClosed(**spent))
    told = json.loads(capsys.readouterr().out)
    assert told == {"event": "round_closed", "time": TIME, **spent}


@pytest.mark.parametrize(("more", "has_column"), [({}, False), (SPENT, True)])
def test_the_live_table_has_a_column_for_what_a_private_run_spends(
    more: dict[str, Any], has_column: bool
) -> None:
    """And none for others."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=30)
    with LiveView(console) as shown:
        shown.say(RoundClosed(**ROUND, **more))
    for shown_once in ("epsilon", "zero", "replace", "4.377", "9.912"):
        assert (shown_once in screen.getvalue()) is has_column


def test_an_event_without_a_sentence_is_told_all_the_same() -> None:
    """By its name and its fields."""
    assert sentence(RunResumed("a1", 3)) == "run resumed: run a1, version 3"
    assert sentence(UnknownEvent("quiet_now", {})) == "quiet now"
    refused = "non-finite values (ann)"
    assert sentence(Waiting("1 updates", 1, refused=refused)) == (
        "refused: non-finite values (ann); waiting for 1 updates; 1 participants are present"
    )
    assert sentence(AllRefused(3, "others for 30 s", refused)) == (
        "round 3: all who are present were refused: non-finite values (ann); "
        "waiting for others for 30 s"
    )
    assert sentence(ParticipantsLeftOut(3, 1, present=1, refused=refused)) == (
        "round 3 left out 1 of 1 participants, who were refused: non-finite values (ann)"
    )
    assert sentence(Waiting("4 participants", 1)) == (
        "waiting for 4 participants; 1 participants are present"
    )


REFUSED = "update norm above the limit: ...; the coordinator's --max-update-norm sets the bound"


def test_who_is_left_out_stands_in_front_of_the_round_and_of_the_end() -> None:
    """With the reason, which names the option that moves the bound."""
    closed = RoundClosed(**ROUND, left_out={"ann": REFUSED, "bob": REFUSED})
    assert sentence(closed).startswith(f"left out: {REFUSED} (ann, bob); round 2: version 2, ")
    finished = replace(FINISHED, left_out={"ann": 1, "bob": 2}, refused=f"{REFUSED} (ann, bob)")
    assert sentence(finished).startswith(
        f"left out: bob of 2 rounds, ann of 1 rounds, refused: {REFUSED} (ann, bob); finished after"
    )


def test_the_table_says_of_how_many_updates_some_were_left_out() -> None:
    """Of the four that came and the one that was refused."""
    columns = columns_of([RoundClosed(**ROUND), RoundClosed(**ROUND, left_out={"ann": REFUSED})])
    assert next(each.cells for each in columns if each.name == "updates") == ("4", "4 of 5")


def test_the_live_view_is_a_table_a_bar_and_a_line() -> None:
    """Rounds become rows, the end stays on the screen, and brackets are no markup."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=30)
    shown = LiveView(console)
    with shown:
        shown.say(RunStarted("f", run="r", epoch=1, version=0, rounds=2, task="digits"))
        shown.say(RoundClosed(**ROUND))
        shown.say(DiskFull("[red]", "No space left on device"))
        shown.say(FINISHED)
    text = screen.getvalue()
    assert "1437" in text
    assert "2/2" in text
    assert "no room in [red]" in text
    assert "runs/[run]/m.safetensors" in text


def test_words_of_strangers_forge_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason of a goodbye, with a line break and an escape sequence in it."""
    with LinesView(at_noon) as shown:
        shown.say(ParticipantLeft("ann", "bye\nround 7: \x1b[2Jversion 7"))
    assert capsys.readouterr().out == (
        f"{TIME} participant left: participant ann, reason bye\\nround 7: \\x1b[2Jversion 7\n"
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
    events = [
        DiskFull("a folder with a name that is longer than a buffer" * 2, "full"),
        DiskFull("out", "full"),
        FINISHED,
    ]
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", expected := io.StringIO())
        shown = kind(at_noon)
        for event in events:
            shown.say(event)
    disk = SmallDisk()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(disk, 64)))
    shown = kind(at_noon)
    for event in events:
        disk.is_full = isinstance(event, DiskFull)
        shown.say(event)
    lines = disk.content.decode().splitlines()
    whole = expected.getvalue().splitlines()
    assert lines[-1] == whole[-1]
    assert set(lines) <= set(whole)


@pytest.mark.parametrize(
    ("json", "log_format", "kind"),
    [(True, "text", JsonView), (False, "json", JsonView), (False, "text", LinesView)],
)
def test_log_lines_in_json_make_events_json_too(
    json: bool, log_format: str, kind: type[View]
) -> None:
    """Whoever collects the output of a container reads both with one program."""
    assert type(view_of(json=json, log_format=log_format)) is kind


def test_an_event_that_was_told_elsewhere_keeps_its_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Such as one of the coordinator, which `fanfold local` passes on."""
    with LinesView(at_noon) as shown:
        shown.say(Stopping("test", time=datetime(2026, 3, 1, tzinfo=UTC)))
    assert capsys.readouterr().out == "2026-03-01T00:00:00.000Z the coordinator stops: test\n"
