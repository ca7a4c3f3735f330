"""What `--fresh` removes, and what is never removed in silence."""

from pathlib import Path
from typing import Any

import pytest
import torch
from named_events import named

from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.reader_limits import ReaderLimits

LIMITS = ReaderLimits(max_bytes=1 << 20)


def books_of_a_run(folder: Path) -> None:
    store = RunStore(folder, LIMITS)
    assert store.load(fresh=False, say=lambda _event: None) is None
    store.take_epoch()
    update = {"participant": "a", "base_version": 0}
    store.history.append({"event": "round", "round": 1, "updates": [update]})
    store.commit({"epoch": 1}, {"w": torch.zeros(1)})
    store.close()
    (folder / "best.safetensors").write_bytes(b"an earlier run's")


def test_a_fresh_start_says_what_it_removes_and_keeps_the_epoch(tmp_path: Path) -> None:
    """The epoch stays: participants would take a lower one for a coordinator of the past."""
    books_of_a_run(tmp_path)
    said: list[tuple[str, dict[str, Any]]] = []
    store = RunStore(tmp_path, LIMITS)
    assert store.load(fresh=True, say=lambda event: said.append(named(event))) is None
    store.take_epoch()
    ((event, fields),) = said
    assert event == "run_removed"
    assert fields["files"] == ["best.safetensors", "checkpoint.safetensors", "history.jsonl"]
    assert store.epoch == 2
    assert not (tmp_path / "history.jsonl").read_bytes()
    assert not (tmp_path / "best.safetensors").exists()
    store.close()


def test_a_history_without_its_checkpoint_is_not_cut_off(tmp_path: Path) -> None:
    """Somebody moved a file: that is no reason to forget what a run was."""
    books_of_a_run(tmp_path)
    (tmp_path / "checkpoint.safetensors").unlink()
    before = (tmp_path / "history.jsonl").read_bytes()
    with pytest.raises(InvalidInputError, match="its checkpoint is gone"):
        RunStore(tmp_path, LIMITS).load(fresh=False, say=lambda _event: None)
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_a_crash_before_the_first_checkpoint_is_no_loss(tmp_path: Path) -> None:
    """Nothing was counted yet: the next coordinator begins as if the first had never been."""
    line = b'{"event":"started","run":"r","epoch":1,"version":0,"settings":{}}\n'
    (tmp_path / "history.jsonl").write_bytes(line)
    store = RunStore(tmp_path, LIMITS)
    assert store.load(fresh=False, say=lambda _event: None) is None
    store.close()
