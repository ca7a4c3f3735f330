"""Files are there as a whole or not at all, and private before they say anything."""

import errno
import os
import stat
from pathlib import Path

import pytest

from fanfold.storage import disk


def test_a_file_that_could_not_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far it came: what a crash leaves is overwritten by the next attempt."""
    path = tmp_path / "file"
    with disk.replacing(path) as file:
        file.write(b"old")

    def refuse(_descriptor: int) -> None:
        raise OSError("no more room")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="no more room"), disk.replacing(path) as file:
            file.write(b"a long new one")
    assert path.read_bytes() == b"old"

    with disk.replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_private_file_takes_the_place_of_no_other(tmp_path: Path) -> None:
    """Its owner alone reads it, whatever the process allows by default."""
    before = os.umask(0)
    try:
        disk.create(tmp_path / "key", b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError, match="key"):
        disk.create(tmp_path / "key", b"another")
    assert (tmp_path / "key").read_bytes() == b"secret"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_disk_that_may_be_mended_is_waited_for(number: int) -> None:
    """Made read-only, failing, or out of reach."""
    errors = [OSError(number, os.strerror(number))]
    pauses: list[OSError] = []

    def attempt() -> None:
        if errors:
            raise errors.pop()

    disk.until_there_is_room(attempt, pauses.append)
    assert [error.errno for error in pauses] == [number]


def test_an_error_that_room_would_not_help_is_no_reason_to_wait() -> None:
    """It goes up."""

    def broken() -> None:
        raise OSError(errno.EBADF, "bad file descriptor")

    with pytest.raises(OSError, match="bad file descriptor"):
        disk.until_there_is_room(broken, lambda _error: pytest.fail("it waited"))
