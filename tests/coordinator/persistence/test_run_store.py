"""Facts about the order in which files are synced, and about which coordinator may write them."""

import errno
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from fanfold.coordinator.persistence.epoch import FolderLockedError, SupersededError
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.persistence.pending_acks import DueAcks
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.storage.disk import until_there_is_room
from fanfold.transport import Delivery, Subscription

LIMITS = ReaderLimits(max_bytes=1 << 20)
TENSORS = {"w": torch.ones(3)}
Opened = Callable[..., tuple[RunStore, list[str], Any]]
QUEUE = Subscription("results", "coordinator", 512)


def delivery(tag: int) -> Delivery:
    return Delivery(QUEUE, tag, False, "Update", str(tag), "ann", {}, b"")


def test_nothing_is_acknowledged_before_the_checkpoint_is_durable(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spool, history, checkpoint, and then one acknowledgement for all that waited."""
    store, _, _ = opened()
    order: list[str] = []
    for owner, name in (
        (store.spool, "sync"),
        (store.history, "commit"),
        (store.checkpoint, "write"),
    ):
        real = getattr(owner, name)

        def watched(*args: Any, real: Any = real, name: str = name, **options: Any) -> Any:
            result = real(*args, **options)
            order.append(name)
            return result

        monkeypatch.setattr(owner, name, watched)
    for tag in (1, 2, 3):
        store.pending_acks.wait(delivery(tag), now=float(tag))
    assert (len(store.pending_acks), store.pending_acks.since) == (3, 1.0)
    due = store.commit({}, TENSORS)
    assert order == ["sync", "commit", "write"]
    assert due.up_to is not None
    assert (due.up_to.tag, due.singly) == (3, [])
    assert not store.pending_acks


def test_a_commit_that_the_disk_refused_acknowledges_nothing_and_can_be_tried_again(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history has each line once."""
    store, _, _ = opened()
    real, attempts = store.checkpoint.write, []

    def full(*args: Any, **options: Any) -> None:
        attempts.append(args)
        if len(attempts) < 3:
            raise OSError(errno.ENOSPC, "no space left on device")
        real(*args, **options)

    monkeypatch.setattr(store.checkpoint, "write", full)
    due: list[DueAcks] = []
    store.history.append({"event": "round", "updates": []})
    store.pending_acks.wait(delivery(9), now=0.0)
    pauses: list[int] = []
    until_there_is_room(
        lambda: due.append(store.commit({}, TENSORS)), lambda _error: pauses.append(len(due))
    )
    assert pauses == [0, 0]
    assert [each.up_to.tag for each in due if each.up_to] == [9]
    assert len(list(read_history(tmp_path / "history.jsonl"))) == 1


def test_deliveries_of_a_lost_connection_are_not_acknowledged(
    opened: Opened, tmp_path: Path
) -> None:
    """They come again."""
    store, _, _ = opened()
    store.pending_acks.wait(delivery(1), now=0.0)
    store.pending_acks.forget()
    assert store.commit({}, TENSORS) == DueAcks()


def test_another_coordinators_store_are_not_written_over(opened: Opened, tmp_path: Path) -> None:
    """One who comes back after a long silence finds that it was replaced."""
    old, _, _ = opened()
    old.commit({"who": "old"}, TENSORS)
    new, _, _ = opened()
    new.commit({"who": "new"}, TENSORS)
    assert new.epoch == old.epoch + 1
    with pytest.raises(SupersededError, match="another coordinator took over the run in"):
        old.commit({"who": "old"}, TENSORS)
    assert opened()[2].document["who"] == "new"


def test_a_fresh_start_removes_what_an_earlier_run_left_and_says_so(
    opened: Opened, tmp_path: Path
) -> None:
    """But the epoch goes on: participants must not take the new run for an older one."""
    first, _, _ = opened()
    first.history.append({"event": "round", "updates": []})
    first.commit({}, TENSORS)
    first.close()
    second, said, checkpoint = opened(fresh=True)
    second.history.flush()
    assert checkpoint is None
    assert said == ["run_removed"]
    assert second.epoch == 2
    assert (tmp_path / "history.jsonl").read_text() == ""


def two_rounds_and_a_damaged_checkpoint(opened: Opened, folder: Path) -> None:
    """Commit an update of ann's in each of two rounds, and cut the newest checkpoint short."""
    store, _, _ = opened()
    for version in (1, 2):
        update = {"participant": "ann", "base_version": version - 1}
        store.history.append({"event": "round", "round": version, "updates": [update]})
        store.commit({"version": version}, TENSORS)
    store.close()
    newest = folder / "checkpoint.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])


def test_falling_back_says_which_updates_are_lost_with_it(opened: Opened, tmp_path: Path) -> None:
    """In the history too, where a replay finds it."""
    two_rounds_and_a_damaged_checkpoint(opened, tmp_path)

    store, said, checkpoint = opened()
    store.history.flush()
    assert said == ["checkpoint_damaged"]
    assert checkpoint.document["version"] == 1
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["round", "updates_lost"]
    assert lines[1]["updates"] == store.lost == [{"participant": "ann", "base_version": 1}]


def test_what_is_lost_is_still_known_if_the_next_start_is_killed(
    opened: Opened, tmp_path: Path
) -> None:
    """Before its first commit: a private run would forget what it has made known."""
    two_rounds_and_a_damaged_checkpoint(opened, tmp_path)
    for _ in range(2):
        store, said, _ = opened()
        store.flush()
        store.close()
        assert said == ["checkpoint_damaged"]
        assert store.lost == [{"participant": "ann", "base_version": 1}]


def test_who_takes_over_waits_until_a_commit_under_way_is_over(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And reads what it wrote; a large model takes minutes, and the lock may be lost meanwhile."""
    old, _, _ = opened()
    old.commit({"commit": 1}, TENSORS)
    real, writing, may_end = old.checkpoint.write, threading.Event(), threading.Event()

    def slow(*args: Any, **options: Any) -> None:
        writing.set()
        assert may_end.wait(20)
        real(*args, **options)

    monkeypatch.setattr(old.checkpoint, "write", slow)
    with ThreadPoolExecutor() as threads:
        committed = threads.submit(old.commit, {"commit": 2}, TENSORS)
        assert writing.wait(20)
        with pytest.raises(FolderLockedError, match=rf"process {os.getpid()} on .* holds the lock"):
            opened()
        may_end.set()
        committed.result(20)
    new, _, checkpoint = opened()
    assert checkpoint.document["commit"] == 2
    old.history.append({"event": "round_closed"})
    with pytest.raises(SupersededError, match="another coordinator took over the run in"):
        old.flush()
    with pytest.raises(SupersededError, match="another coordinator took over the run in"):
        old.keep_spool()
    assert (tmp_path / "history.jsonl").read_bytes() == b""
    assert new.epoch == 2


def test_a_folder_that_cannot_be_written_to_is_refused(opened: Opened, tmp_path: Path) -> None:
    """In one sentence, before anything else happens."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInputError, match=r"--out .*out cannot be written to \(Not a dir"):
        RunStore(tmp_path / "file" / "out", LIMITS)


@pytest.mark.parametrize("left", [None, "0\n", "3\n"])
def test_an_epoch_that_was_lost_or_lowered_is_taken_from_the_checkpoint(
    opened: Opened, tmp_path: Path, left: str | None
) -> None:
    """Participants drop every version of an epoch that is below the newest they have seen."""
    store, _, _ = opened()
    for _ in range(4):
        store, _, _ = opened()
    store.commit({"epoch": store.epoch}, TENSORS)
    path = tmp_path / "epoch"
    path.unlink() if left is None else path.write_text(left)
    assert opened()[0].epoch == 6
    assert path.read_text() == "6\n"


def test_an_epoch_that_was_lost_does_not_let_two_coordinators_write(
    opened: Opened, tmp_path: Path
) -> None:
    """The successor's is larger than the one that the first one holds."""
    for _ in range(3):
        old, _, _ = opened()
    old.commit({"epoch": old.epoch}, TENSORS)
    (tmp_path / "epoch").unlink()
    opened()
    with pytest.raises(SupersededError, match="another coordinator took over the run in"):
        old.commit({"epoch": old.epoch}, TENSORS)


@pytest.mark.parametrize("content", [b"", b"\n", b"-3\n", b"7.5", b"\xff\x00", b"9" * 30])
def test_a_damaged_epoch_is_told_in_a_sentence(
    opened: Opened, tmp_path: Path, content: bytes
) -> None:
    """At the start and in the middle of a run: what to write into it, and that it must not sink."""
    store, _, _ = opened()
    store.commit({"epoch": 1}, TENSORS)
    (tmp_path / "epoch").write_bytes(content)
    for attempt in (opened, store.check_epoch, lambda: store.commit({}, TENSORS), store.flush):
        with pytest.raises(
            InvalidInputError,
            match=r"epoch is damaged: it holds b.* \(1 is the highest known",
        ):
            attempt()


def test_what_the_one_before_left_in_the_spool_is_known_to_who_stood_by(
    opened: Opened, tmp_path: Path
) -> None:
    """It came after the standby's start: it goes when it is too stale, like all that is left."""
    standby = RunStore(tmp_path, LIMITS)
    opened()[0].commit({"epoch": 1}, TENSORS)
    (tmp_path / "spool" / f"3.{'a' * 64}.{'b' * 64}").write_bytes(b"a part")
    standby.take_epoch()
    standby.load(fresh=False, say=lambda _event: None)
    assert standby.spool.expire(lambda version: version < 4) == 1
    standby.close()


def test_a_folder_that_fails_at_the_start_is_told_in_a_sentence(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the files are read there is nothing yet that could wait."""
    opened()[0].commit({"epoch": 1}, TENSORS)
    store = RunStore(tmp_path, LIMITS)
    store.take_epoch()

    def broken() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(store.checkpoint, "read", broken)
    with pytest.raises(InvalidInputError, match=r"--out .* cannot be read or written \(Input/out"):
        store.load(fresh=False, say=lambda _event: None)


def test_an_epoch_that_cannot_be_read_now_is_asked_for_again_at_the_next_commit(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coming back to the broker does not fail for it; nothing is written without it."""
    store, _, _ = opened()

    def broken(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", broken)
        store.check_epoch()
        with pytest.raises(OSError, match="Input/output error"):
            store.commit({}, TENSORS)
    store.commit({}, TENSORS)
