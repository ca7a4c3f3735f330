"""Facts about a state folder whose disk is full, read-only or failing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanfold.participant import answering_worker, state_files
from fanfold.participant.training_state import TrainingState
from fanfold.participant.worker_events import Abandoned, Answered, Told
from fanfold.schemas.events.shared import DiskFull, DiskRefuses
from tests.participant.small_worker import LIMITS, FakeChannel, worker_over


@pytest.fixture
def full_until(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Refuse so many writes, for three reasons; the list counts the attempts."""

    def prepare(attempt: int) -> list[int]:
        attempts = [0]
        replace = state_files.replace

        def full(*arguments: Any) -> None:
            attempts[0] += 1
            if attempts[0] < attempt:
                code = (errno.ENOSPC, errno.EROFS, errno.EIO)[attempts[0] % 3 - 1]
                raise OSError(code, os.strerror(code))
            replace(*arguments)

        monkeypatch.setattr(state_files, "replace", full)
        return attempts

    return prepare


def test_a_disk_that_takes_nothing_is_waited_for_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_until: Callable[[int], list[int]]
) -> None:
    """The update goes out once it is kept, and not before."""
    monkeypatch.setattr(answering_worker, "DISK_PAUSE_SECONDS", 0.01)
    attempts = full_until(4)
    channel = FakeChannel()
    made, version, delivered = worker_over(tmp_path, channel)
    made.submit(version)
    told = [delivered.get(timeout=60) for _ in range(3)]
    folder = str(tmp_path)
    assert told == [
        Told(DiskFull(folder, "No space left on device")),
        Told(DiskRefuses(folder, "Read-only file system")),
        Told(DiskRefuses(folder, "Input/output error")),
    ]
    answered = delivered.get(timeout=60)
    made.close()
    assert isinstance(answered, Answered)
    assert attempts == [4]
    assert channel.published == 1
    assert TrainingState(tmp_path, LIMITS).answer_to(version) is not None


def test_who_is_told_to_stop_does_not_wait_for_room(
    tmp_path: Path, full_until: Callable[[int], list[int]]
) -> None:
    """Nothing was published, so nothing is lost but the training."""
    attempts = full_until(10**9)
    channel = FakeChannel()
    made, version, delivered = worker_over(tmp_path, channel)
    made.submit(version)
    while not attempts[0]:
        pass  # it trains for a step
    made.abandon()
    while isinstance(abandoned := delivered.get(timeout=60), Told):
        pass
    made.close()
    assert isinstance(abandoned, Abandoned)
    assert channel.published == 0
