"""Facts about uploads that come in chunks: they survive a crash, and a full disk is waited for."""

import errno
import os
from pathlib import Path

import pytest
import torch

from fanfold.coordinator.persistence.spool import Spool, SpoolFile
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.messages import Update
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors

LIMITS = ReaderLimits(max_bytes=1 << 20)
DELTA = torch.arange(2000.0)


def chunks(version: int = 0, scale: float = 1.0) -> list[Chunk]:
    """Return an update of eight chunks."""
    update = Update(
        run="run",
        participant="ann",
        base_version=version,
        base_digest="0" * 64,
        num_examples=1,
    )
    encoded = encode_tensors(update, {"w": DELTA * scale}, kinds={"w": "delta"})
    return cut(encoded, chunk_bytes=1024)


def put(spool: Spool, sent: list[Chunk]) -> SpoolFile | None:
    whole = None
    for chunk in sent:
        whole = spool.add("ann", chunk.header, bytes(chunk.body), 0.0)
    return whole


def content(file: SpoolFile | None) -> torch.Tensor:
    assert file is not None
    return decode_tensors(file.assembly.decode())["w"]


def test_chunks_in_any_order_become_the_message(tmp_path: Path) -> None:
    """And duplicates change nothing."""
    sent = chunks()
    spool = Spool(tmp_path, LIMITS)
    assert put(spool, [*sent[3:], *sent[5:], *sent[:2]]) is None
    file = put(spool, sent[2:3])
    assert torch.equal(content(file), DELTA)


def test_a_crash_keeps_what_was_synced(tmp_path: Path) -> None:
    """Only the chunks that are missing have to come again."""
    sent = chunks()
    before = Spool(tmp_path, LIMITS)
    put(before, sent[:5])
    before.sync()
    after = Spool(tmp_path, LIMITS)
    assert torch.equal(content(put(after, sent[5:])), DELTA)


def test_a_chunk_that_a_crash_tore_has_to_come_again(tmp_path: Path) -> None:
    """Its bytes have another digest than was noted for it."""
    sent = chunks()
    before = Spool(tmp_path, LIMITS)
    put(before, sent[:5])
    before.sync()
    (path,) = tmp_path.iterdir()
    torn = bytearray(path.read_bytes())
    torn[1024 * 2 + 7] ^= 1
    path.write_bytes(torn)
    after = Spool(tmp_path, LIMITS)
    assert put(after, sent[5:]) is None
    assert torch.equal(content(put(after, sent[2:3])), DELTA)


def test_two_attempts_at_the_same_update_never_mix(tmp_path: Path) -> None:
    """Each digest has a file of its own."""
    spool = Spool(tmp_path, LIMITS)
    first, second = chunks(scale=1.0), chunks(scale=-1.0)
    assert put(spool, [*first[:4], *second[:4], *first[4:-1], *second[4:-1]]) is None
    assert torch.equal(content(put(spool, second[-1:])), -DELTA)
    assert torch.equal(content(put(spool, first[-1:])), DELTA)


def test_a_full_disk_is_an_error_that_can_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same chunk is taken once there is room."""
    sent = chunks()
    spool = Spool(tmp_path, LIMITS)
    put(spool, sent[:1])
    with monkeypatch.context() as patched:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="no space left"):
            put(spool, sent[1:2])
    assert torch.equal(content(put(spool, sent[1:])), DELTA)


def test_what_is_too_stale_goes_and_nothing_else(tmp_path: Path) -> None:
    """Whole messages wait for their commit and stay."""
    spool = Spool(tmp_path, LIMITS)
    put(spool, chunks(version=0)[:3])
    whole = put(spool, chunks(version=1))
    put(spool, chunks(version=2)[:3])
    assert spool.expire(lambda version: version < 2) == 1
    assert spool.expire(lambda version: version < 3) == 1
    assert whole is not None
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]
    spool.remove(whole)
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_is_gone_on_with_however_old_it_is(tmp_path: Path) -> None:
    """Its chunks are acknowledged: nobody would send them again, whatever the clocks say."""
    sent = chunks(version=3)
    before = Spool(tmp_path, LIMITS)
    put(before, sent[:5])
    before.sync()
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))
    after = Spool(tmp_path, LIMITS)
    assert after.expire(lambda version: version < 3) == 0
    assert torch.equal(content(put(after, sent[5:])), DELTA)


def test_what_an_earlier_process_left_goes_once_it_is_too_stale(tmp_path: Path) -> None:
    before = Spool(tmp_path, LIMITS)
    put(before, chunks(version=3)[:5])
    after = Spool(tmp_path, LIMITS)
    assert after.expire(lambda version: version < 4) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_counts_toward_what_its_sender_may_begin(
    tmp_path: Path,
) -> None:
    """A sender that crashes with its coordinator each time fills no disk: the oldest one goes."""
    for version in range(4):
        put(Spool(tmp_path, LIMITS), chunks(version)[:3])
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir()) == ["2", "3"]


def test_clear_removes_what_an_earlier_process_left(tmp_path: Path) -> None:
    """For a fresh start."""
    put(Spool(tmp_path, LIMITS), chunks()[:3])
    Spool(tmp_path, LIMITS).clear()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_deleted_stays_for_now_and_nothing_else_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was made read-only; once it is writable again the file goes."""
    spool = Spool(tmp_path, LIMITS)
    file = put(spool, chunks())
    put(spool, chunks(version=1)[:3])
    assert file is not None
    with monkeypatch.context() as patched:

        def refused(*_: object, **__: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        patched.setattr(Path, "unlink", refused)
        spool.remove(file)
        assert spool.expire(lambda version: version < 2) == 1
    assert len(list(tmp_path.iterdir())) == 2
    spool.sync()
    assert list(tmp_path.iterdir()) == []


def test_chunks_whose_sync_failed_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sync would succeed and keep nothing: the system counts such pages as written."""
    spool = Spool(tmp_path, LIMITS)
    put(spool, chunks()[:5])
    written: list[int] = []
    real = os.pwrite

    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def counted(descriptor: int, data: bytes, offset: int) -> int:
        written.append(len(data))
        return real(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            spool.sync()
    monkeypatch.setattr(os, "pwrite", counted)
    spool.sync()
    (path,) = tmp_path.iterdir()
    assert sum(written) == path.stat().st_size
    assert torch.equal(content(put(spool, chunks()[5:])), DELTA)
