"""Facts about the history: what a commit counts is there again, whatever became of the file."""

import errno
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fanfold.coordinator.persistence.history import (
    MOST_TAIL_BYTES,
    History,
    committed_history,
    committed_in,
    read_history,
)


def lines(path: Path) -> list[int]:
    return [record["line"] for record in read_history(path)]


@pytest.mark.parametrize("left", [0, 5, 10_000])
def test_committed_lines_survive_the_loss_of_everything_that_was_not_synced(
    tmp_path: Path, left: int
) -> None:
    """The checkpoint holds the tail: a power cut may take any of it out of the file."""
    path = tmp_path / "history.jsonl"
    history = History(path)
    for line in range(3):
        history.append({"line": line})
    committed = history.commit()
    history.append({"line": 3})
    history.close()
    path.write_bytes(path.read_bytes()[: committed_in(committed).num_bytes + left])

    again = History(path, committed_in(committed))
    again.append({"line": 4})
    again.flush()
    again.close()
    assert lines(path) == [0, 1, 2, 4]


def test_a_long_tail_moves_into_the_file(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append({"line": 0, "text": "x" * MOST_TAIL_BYTES})
    committed = history.commit()
    assert committed["history_bytes"] == history.path.stat().st_size
    assert committed["history_tail"] == ""
    history.append({"line": 1})
    tail = history.commit()["history_tail"]
    assert isinstance(tail, str)
    assert tail.startswith('{"line":1,')
    history.close()
    assert lines(history.path) == [0, 1]


def test_lines_whose_sync_failed_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sync would succeed and keep nothing: the system counts such pages as written."""
    history = History(tmp_path / "history.jsonl")
    history.append({"line": 0, "text": "x" * MOST_TAIL_BYTES})
    written: list[int] = []

    def broken(descriptor: int) -> None:
        written.append(os.fstat(descriptor).st_size)
        os.ftruncate(descriptor, 5)  # what a failing disk may leave of it
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="input/output error"):
            history.commit()
    committed = committed_in(history.commit())
    history.close()
    assert committed.num_bytes == history.path.stat().st_size == written[0]
    assert [record["line"] for record in committed_history(history.path, committed)] == [0]


def test_every_line_says_when_it_was_written(tmp_path: Path) -> None:
    """UTC, whatever the time zone of the clock; a line that has a time keeps it."""
    here = timezone(timedelta(hours=2))
    history = History(
        tmp_path / "history.jsonl", wall_clock=lambda: datetime(2026, 3, 1, 14, tzinfo=here)
    )
    history.append({"event": "round", "round": 1})
    history.append({"event": "round", "time": "earlier", "round": 2})
    history.flush()
    history.close()
    assert list(read_history(tmp_path / "history.jsonl")) == [
        {"event": "round", "time": "2026-03-01T12:00:00.000Z", "round": 1},
        {"event": "round", "time": "earlier", "round": 2},
    ]
