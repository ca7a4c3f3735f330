"""What a coordinator writes into `events.jsonl`, for who watches."""

import errno
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.rounds.closing_rule import OpenRound, RoundPolicy
from fanfold.monitoring import event_log
from fanfold.monitoring.event_log import EVENTS, EVENTS_BEFORE, EventLog
from fanfold.schemas.events.coordinator import ParticipantJoined, RunStarted
from fanfold.schemas.events.run_folder import RunRemoved
from fanfold.schemas.messages import Progress

STARTED = RunStarted("clinics", "r1", epoch=1, version=0, rounds=9, task="digits")


def log_in(folder: Path) -> EventLog:
    return EventLog(folder, lambda: datetime(2026, 3, 1, tzinfo=UTC))


def lines(folder: Path, name: str = EVENTS) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def opened(number: int) -> OpenRound:
    return OpenRound(RoundPolicy(goal=2), number, expected=frozenset(), opened_at=0.0)


def test_a_round_is_written_as_it_goes(tmp_path: Path) -> None:
    """Who gets a version is told where it changes; events before the start come first."""
    with log_in(tmp_path) as log:
        log.attach(present=lambda: 2, members=lambda: {"bo", "ada"}, is_ready=lambda: True)
        log.take(ParticipantJoined("ada"))
        assert not (tmp_path / EVENTS).exists()
        log.take(STARTED)
        for number in (1, 2):
            log.opened(opened(number))
        log.progressed(
            Progress(participant="bo", instance="i", run="r1", version=1, phase="training", step=3)
        )
        log.folded(Contribution("ada", 1, staleness=0, num_examples=7, weight=1.0, digest="0"))

    time = "2026-03-01T00:00:00.000Z"
    told = lines(tmp_path)
    assert [each.pop("time") for each in told] == [time] * 6
    assert [each.pop("event") for each in told] == [
        "participant_joined",
        "run_started",
        "round_opened",
        "round_opened",
        "participant_progress",
        "update_counted",
    ]
    first = {"round": 1, "version": 0, "goal": 2, "quorum": 1, "deadline_seconds": 600.0}
    assert told[2] == first | {"participants": ["ada", "bo"]}
    assert told[3] == first | {"round": 2, "version": 1}
    assert told[4] == {
        "participant": "bo",
        "version": 1,
        "phase": "training",
        "step": 3,
        "steps": 0,
    }
    assert told[5] == {"participant": "ada", "base_version": 1, "staleness": 0, "examples": 7}


def test_the_lock_is_held_while_a_coordinator_lives(tmp_path: Path) -> None:
    """A look at the lock in the wrong moment does not keep it from being taken."""
    (tmp_path / EVENTS).touch()
    with (tmp_path / EVENTS).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with log_in(tmp_path) as log:
            log.take(STARTED)
            fcntl.flock(file, fcntl.LOCK_UN)
            log.take(ParticipantJoined("ada"))
            with pytest.raises(BlockingIOError, match="unavailable"):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_what_the_disk_refuses_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on, and the file says how many events are missing; no line is half of two."""
    write = os.write

    def full(file: int, text: bytes) -> int:
        if b"bo" in text:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, text[:5] if b"cy" in text else text)

    with log_in(tmp_path) as log:
        log.take(STARTED)
        monkeypatch.setattr(event_log.os, "write", full)
        for name in ("ada", "bo", "cy"):
            log.take(ParticipantJoined(name))
        monkeypatch.setattr(event_log.os, "write", write)
        log.take(ParticipantJoined("dan"))

    text = (tmp_path / EVENTS).read_text().splitlines()
    assert len(text[2]) == 5
    del text[2]
    told = [json.loads(line) for line in text]
    assert [each.get("participant") or each["event"] for each in told] == [
        *("run_started", "ada", "events_lost", "dan")
    ]
    assert told[2]["events"] == 2


def test_a_long_file_is_turned_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file before is kept; the new one says again who gets a version, and has the lock."""
    monkeypatch.setattr(event_log, "MOST_BYTES", 250)
    with log_in(tmp_path) as log:
        log.attach(present=lambda: 1, members=lambda: {"ada"}, is_ready=lambda: True)
        log.take(STARTED)
        for number in (1, 2):
            log.opened(opened(number))

        assert [each["event"] for each in lines(tmp_path, EVENTS_BEFORE)] == [
            *("run_started", "round_opened")
        ]
        assert [each["participants"] for each in lines(tmp_path)] == [["ada"]]
        with (
            (tmp_path / EVENTS).open() as file,
            pytest.raises(BlockingIOError, match="unavailable"),
        ):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    """With --fresh what was told of the run before is removed with it."""
    with log_in(tmp_path) as log:
        log.take(STARTED)
    with log_in(tmp_path) as log:
        log.take(RunRemoved(str(tmp_path), files=("history.jsonl",)))
        log.take(STARTED)

    assert [each["event"] for each in lines(tmp_path)] == ["run_removed", "run_started"]
