"""Facts about uploads whose acknowledged parts were damaged: they are asked for again."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from named_events import named
from test_spool import DELTA, LIMITS, chunks, content, put

from fanfold.coordinator.admission.damaged_uploads import DamagedUploads
from fanfold.coordinator.admission.update_assembler import Assembler
from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.persistence.spool import Spool
from fanfold.transport import Delivery, Subscription


def flip(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[1024 * 2 + 7] ^= 1
    path.write_bytes(damaged)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


EVERY = (0, 1, 2, 3, 4)
DAMAGES = [(flip, (2,)), (zero, EVERY), (cut_off, EVERY), (Path.unlink, EVERY)]


@pytest.mark.parametrize(("damage", "missing"), DAMAGES)
def test_what_is_missing_when_the_last_chunk_comes_is_lost(
    tmp_path: Path, damage: Callable[[Path], None], missing: tuple[int, ...]
) -> None:
    """Nobody would send it again by himself; sent again, it makes the update whole."""
    sent = chunks()
    before = Spool(tmp_path, LIMITS)
    put(before, sent[:5])
    before.sync()
    (path,) = tmp_path.iterdir()
    damage(path)
    after = Spool(tmp_path, LIMITS)
    assert put(after, sent[5:-1]) is None
    assert after.take_damaged() == []
    assert put(after, sent[-1:]) is None
    (found,) = after.take_damaged()
    assert (found.header, found.missing) == (sent[-1].header, missing)
    put(after, sent[-1:])
    assert after.take_damaged() == []
    assert torch.equal(content(put(after, sent[: missing[-1] + 1])), DELTA)


def test_a_chunk_that_a_crash_tore_is_not_lost(tmp_path: Path) -> None:
    """It was not acknowledged: the broker gives it again, before the last one."""
    sent = chunks()
    before = Spool(tmp_path, LIMITS)
    put(before, sent[:5])
    (path,) = tmp_path.iterdir()
    flip(path)
    after = Spool(tmp_path, LIMITS)
    assert torch.equal(content(put(after, sent[2:])), DELTA)
    assert after.take_damaged() == []


def test_chunks_that_come_out_of_order_are_not_lost(tmp_path: Path) -> None:
    """A queue that was full refuses some and takes those after them."""
    sent = chunks()
    spool = Spool(tmp_path, LIMITS)
    put(spool, [*sent[:2], *sent[4:]])
    assert spool.take_damaged() == []
    assert torch.equal(content(put(spool, sent[2:4])), DELTA)


class Coordinator:
    """A second coordinator, whose spool the first one left with a damaged file."""

    def __init__(self, folder: Path, *, version: int) -> None:
        first = Spool(folder / "spool", LIMITS)
        sender = "ann/ann"
        for chunk in chunks()[:5]:
            first.add(sender, chunk.header, bytes(chunk.body), 0.0)
        first.sync()
        (path,) = (folder / "spool").iterdir()
        flip(path)
        self.store = RunStore(folder, LIMITS)
        self.store.spool.take_over()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.history: list[dict[str, Any]] = []
        uploads = DamagedUploads(
            cast("Any", SimpleNamespace(version=version)),
            store=cast("Any", SimpleNamespace(history=self.history)),
            publisher=cast("Any", SimpleNamespace(send_to_newcomer=self.asked.append)),
            say=lambda event: self.said.append(named(event)),
        )
        assembler = Assembler(self.store, LIMITS, damaged=uploads.tell)
        queue = Subscription("results", "coordinator", 512)
        for tag, chunk in enumerate(chunks()[5:]):
            delivery = Delivery(
                *(queue, tag, False, chunk.kind, chunk.message_id, "ann"),
                *(chunk.headers, bytes(chunk.body)),
            )
            assembler.add(chunk.header, delivery, 0.0)


def test_its_sender_is_asked_again_and_the_history_names_it(tmp_path: Path) -> None:
    """The version that it answers is sent to it once more."""
    coordinator = Coordinator(tmp_path, version=0)
    assert coordinator.asked == ["ann"]
    fields = {"participant": "ann", "base_version": 0, "is_asked_again": True}
    assert coordinator.said == [("upload_damaged", {**fields, "chunks": 1})]
    assert coordinator.history == [
        {
            "event": "upload_damaged",
            **fields,
            "chunks": [2],
            "digest": chunks()[0].header.whole.digest,
        }
    ]


def test_an_update_of_an_older_version_is_named_and_not_asked_for(tmp_path: Path) -> None:
    """Its sender answers the current version as ever."""
    coordinator = Coordinator(tmp_path, version=1)
    assert coordinator.asked == []
    assert coordinator.said[0][1]["is_asked_again"] is False
