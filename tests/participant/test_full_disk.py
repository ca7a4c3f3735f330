"""Facts about a state folder whose disk is full."""

import errno
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from learning import load_task
from participant import durable, slot
from participant.memory import Memory
from participant.reader import Version
from participant.slot import WorkSlot
from participant.trainer import Trainer
from participant.work import Abandoned, Answered
from schemas.chunks import Assembly, cut
from schemas.limits import Limits
from schemas.messages import GlobalParameters, TrainingPlan
from schemas.tensors import encode_tensors

LIMITS = Limits(max_bytes=1 << 20)


class Desk:
    """Takes every update."""

    def __init__(self) -> None:
        self.published = 0

    def publish_update(self, chunks: Any) -> None:
        self.published += len(list(chunks))

    def give_up_update(self) -> None:
        pass


def slot_over(folder: Path, desk: Desk) -> tuple[WorkSlot, Version, "queue.Queue[object]"]:
    """A slot that is asked to train the digits for a step, and what it delivers."""
    task = load_task("digits")()
    message = GlobalParameters(
        run="run", version=0, rounds=1, plan=TrainingPlan(steps=1, threads=1), encoding="float32"
    )
    chunks = cut(encode_tensors(message, task.network().state_dict()))
    assembly = Assembly(chunks[0].place, LIMITS)
    for chunk in chunks:
        assembly.add(chunk.place, chunk.body)
    version = Version("run", 1, 0, chunks[0].place.whole.digest, len(chunks), assembly)
    delivered: queue.Queue[object] = queue.Queue()
    made = WorkSlot(
        task,
        Trainer(task, "ann"),
        participant="ann",
        memory=Memory(folder, LIMITS),
        desk=desk,  # type: ignore[arg-type] - the two methods that a slot calls
        chunk_bytes=1 << 20,
        deliver=delivered.put,
    )
    return made, version, delivered


@pytest.fixture
def full_until(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Refuse so many writes for want of room; the list counts the attempts."""

    def prepare(attempt: int) -> list[int]:
        attempts = [0]
        replace = durable.replace

        def full(*arguments: Any) -> None:
            attempts[0] += 1
            if attempts[0] < attempt:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(*arguments)

        monkeypatch.setattr(durable, "replace", full)
        return attempts

    return prepare


def test_a_full_disk_is_waited_for_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_until: Callable[[int], list[int]]
) -> None:
    """The update goes out once it is kept, and not before."""
    monkeypatch.setattr(slot, "DISK_PAUSE_SECONDS", 0.01)
    attempts = full_until(3)
    desk = Desk()
    made, version, delivered = slot_over(tmp_path, desk)
    made.submit(version)
    answered = delivered.get(timeout=60)
    made.close()
    assert isinstance(answered, Answered)
    assert attempts == [3]
    assert desk.published == 1
    assert Memory(tmp_path, LIMITS).answer_to(version) is not None


def test_who_is_told_to_stop_does_not_wait_for_room(
    tmp_path: Path, full_until: Callable[[int], list[int]]
) -> None:
    """Nothing was published, so nothing is lost but the training."""
    attempts = full_until(10**9)
    desk = Desk()
    made, version, delivered = slot_over(tmp_path, desk)
    made.submit(version)
    while not attempts[0]:
        pass  # it trains for a step
    made.abandon()
    abandoned = delivered.get(timeout=60)
    made.close()
    assert isinstance(abandoned, Abandoned)
    assert desk.published == 0
