"""Facts about a history that somebody changed, cut or removed: nothing goes on in silence."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from named_events import named

from fanfold.coordinator.persistence.history import (
    MOST_TAIL_BYTES,
    History,
    committed_history,
    committed_in,
)
from fanfold.coordinator.persistence.history_chain import DamagedHistoryError
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.reader_limits import ReaderLimits

TENSORS = {"w": torch.ones(3)}
LONG = "x" * MOST_TAIL_BYTES
"""Makes a line move from the checkpoint into the file at once."""


class Folder:
    """A run's folder, and what its coordinators said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = path / "history.jsonl"
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._all: list[RunStore] = []

    def opened(self, **options: Any) -> RunStore:
        store = RunStore(self.path, ReaderLimits(max_bytes=1 << 20))
        self._all.append(store)
        store.take_epoch()
        store.load(fresh=False, say=lambda event: self.said.append(named(event)), **options)
        return store

    def close(self) -> None:
        for store in self._all:
            store.close()

    def records(self) -> list[dict[str, Any]]:
        checkpoint = RunStore(self.path, ReaderLimits(max_bytes=1)).checkpoint.peek()
        assert checkpoint is not None
        return list(committed_history(self.history, committed_in(checkpoint.document)))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """The folder of a run of three rounds, whose lines are all in the file."""
    folder = Folder(tmp_path)
    store = folder.opened()
    for number in (1, 2, 3):
        updates = [{"participant": "ann", "base_version": number - 1}]
        store.history.append({"event": "round", "round": number, "updates": updates, "text": LONG})
        store.commit({"epoch": 1}, TENSORS)
    store.close()
    yield folder
    folder.close()


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "shorter":
            path.write_bytes(content[:-5])
        case "two lines":
            path.write_bytes(b"".join(content.splitlines(keepends=True)[:2]))
        case _:
            at = content.index(b'"round":2') + 8
            path.write_bytes(content[:at] + b"7" + content[at + 1 :])


LEFT = {"gone": 0, "empty": 0, "shorter": 2, "two lines": 2, "changed": 1}


@pytest.mark.parametrize("how", LEFT)
def test_a_damaged_history_is_told_at_the_start_and_refused(folder: Folder, how: str) -> None:
    """It names the option with which the run goes on, and changes nothing."""
    damage(folder.history, how)
    left = folder.history.read_bytes() if folder.history.exists() else b""
    why = "line 2 of .* was changed" if how == "changed" else r"history.jsonl has \d+ bytes"
    with pytest.raises(InvalidInputError, match=rf"{why}.* with --accept-lost-history: the run"):
        folder.opened()
    assert folder.history.read_bytes() == left


@pytest.mark.parametrize("how", LEFT)
def test_a_damaged_history_that_is_accepted_goes_on_from_what_is_left(
    folder: Folder, how: str
) -> None:
    """The loss is a line of its own, and the damaged file stays beside it."""
    damage(folder.history, how)
    left = folder.history.read_bytes() if folder.history.exists() else b""
    store = folder.opened(accept_lost_history=True)
    store.history.append({"event": "round", "round": 4, "updates": []})
    store.commit({"epoch": store.epoch}, TENSORS)
    store.close()
    ((event, fields),) = folder.said
    assert (event, fields["lines_left"]) == ("history_lost", LEFT[how])
    assert Path(fields["damaged"]).read_bytes() == left
    records = folder.records()
    assert [record.get("round") for record in records] == [*range(1, LEFT[how] + 1), None, 4]
    assert records[-2] == {"event": "history_lost", "epoch": store.epoch, "lines": LEFT[how]}
    folder.opened()
    assert len(folder.said) == 1


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Whichever it is, in the text, in a hash or between two lines."""
    history = History(tmp_path / "history.jsonl")
    for number in (1, 2):
        history.append({"event": "round", "round": number})
    committed = committed_in({**history.commit(), "history_tail": ""})
    history.close()
    content = history.path.read_bytes()
    committed = committed_in(committed.state() | {"history_bytes": len(content)})
    assert [each["round"] for each in committed_history(history.path, committed)] == [1, 2]
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1
        history.path.write_bytes(changed)
        line = 1 + content[:at].count(b"\n")
        with pytest.raises(DamagedHistoryError, match=rf"line {line} of .* its hash differs"):
            list(committed_history(history.path, committed))


def test_the_history_of_another_run_is_noticed(folder: Folder, tmp_path: Path) -> None:
    """Its own hashes are right, but they are not those of this checkpoint."""
    size = folder.history.stat().st_size
    other = History(tmp_path / "other.jsonl")
    other.append({"event": "round", "text": "x" * (size - 103)})
    other.flush()
    other.close()
    other.path.replace(folder.history)
    assert folder.history.stat().st_size == size
    with pytest.raises(InvalidInputError, match=r"history.jsonl is another run's: its hashes"):
        folder.opened()


def test_the_hashes_can_be_checked_from_the_description_alone(folder: Folder) -> None:
    """SHA-256 of the hash before and the line's bytes without its own."""
    before = "0" * 64
    for line in folder.history.read_text().splitlines():
        found = json.loads(line)["chain"]
        rest = line.removesuffix(f',"chain":"{found}"}}') + "}"
        assert sha256((before + rest).encode()).hexdigest() == found
        before = found


def test_a_history_without_a_checkpoint_is_kept_though_its_first_line_is_damaged(
    folder: Folder,
) -> None:
    """What can be read of it tells of a run."""
    for path in folder.path.glob("checkpoint*"):
        path.unlink()
    content = b"\xff" + folder.history.read_bytes()
    folder.history.write_bytes(content)
    with pytest.raises(InvalidInputError, match="its checkpoint is gone"):
        folder.opened()
    assert folder.history.read_bytes() == content
