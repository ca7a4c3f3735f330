"""Facts about reading the history of a run, which may go on meanwhile."""

import json
from pathlib import Path

import pytest

from fanfold.coordinator.persistence.records import records_of
from fanfold.runs.run import Run
from fanfold.schemas.errors import InvalidInputError

CLOSED = {
    "event": "round_closed",
    "time": "2026-03-01T13:00:00.000Z",
    "round": 1,
    "version": 1,
    "updates": 2,
    "examples": 20,
    "stale": 0,
    "refused": 0,
    "bytes_down": 8,
    "bytes_up": 8,
    "loss": 0.5,
    "accuracy": None,
    "seconds": 2.0,
}


def history(folder: Path, *records: dict[str, object], tail: str = "") -> Path:
    path = folder / "history.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in records) + tail)
    return path


def test_a_round_counts_once_and_half_a_line_not_at_all(tmp_path: Path) -> None:
    """Whoever reads sees the same."""
    path = history(tmp_path, CLOSED, CLOSED | {"loss": 9.0}, tail='{"event": "round_clo')
    assert list(records_of(path)) == [CLOSED]
    (figure,) = [Run(tmp_path).plot("loss")]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.5]


def test_a_history_that_cannot_be_read_gets_a_sentence(tmp_path: Path) -> None:
    """It names the file."""
    with pytest.raises(InvalidInputError, match=r"history.jsonl cannot be read \(No such file"):
        list(records_of(tmp_path / "history.jsonl"))
