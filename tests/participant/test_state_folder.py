"""Facts about a state folder: one process at a time, and read only while the id is held."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.state_folder import StateFolder
from fanfold.participant.training_state import FILE, TrainingState
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.participant.worker_events import Abandoned, Answered, Forgotten, Told
from fanfold.schemas.errors import InvalidInputError, RefusedByBrokerError
from fanfold.schemas.events.participant import StateDirTaken, StateIsOlder
from fanfold.transport import EventBuffer, Stop
from fanfold.views.sentences import sentence
from tests.participant.small_worker import LIMITS, FakeChannel, worker_over
from tests.participant.test_training_state import encoded, keep

HOLD = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> "subprocess.Popen[bytes]":
    """Another process that holds the folder until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def test_a_folder_belongs_to_one_process_at_a_time(
    tmp_path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    """A second one waits in words, and reads it only when the first is gone, killed or not."""
    worker, version, delivered = worker_over(tmp_path, FakeChannel())
    worker.submit(version)
    told = delivered.get(timeout=60)
    assert isinstance(told, Told)
    assert told == Told(StateDirTaken(str(tmp_path)))
    assert "another process uses" in sentence(told.event)
    end(other)
    assert isinstance(delivered.get(timeout=60), Answered)
    assert worker.close()
    assert StateFolder(tmp_path, LIMITS).take() is not None


def test_who_waits_for_a_folder_can_be_stopped(
    tmp_path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    worker, version, delivered = worker_over(tmp_path, FakeChannel())
    worker.submit(version)
    assert isinstance(delivered.get(timeout=60), Told)
    worker.abandon()
    assert isinstance(delivered.get(timeout=60), Abandoned)
    assert worker.close()
    end(other)


def test_who_lost_its_id_leaves_the_folder_and_reads_it_anew(tmp_path: Path) -> None:
    """Whoever has the id meanwhile may have trained."""
    worker, version, delivered = worker_over(tmp_path, FakeChannel())
    worker.submit(version)
    assert isinstance(delivered.get(timeout=60), Answered)
    worker.let_go()
    successor = StateFolder(tmp_path, LIMITS)
    while (training_state := successor.take()) is None:
        pass
    assert training_state.answer_to(version) is not None
    training_state.keep(encoded(), residual={}, private={})
    successor.let_go()
    worker.submit(version)
    answered = delivered.get(timeout=60)
    assert isinstance(answered, Answered)
    assert answered.trained is not None
    worker.close()


def test_an_answer_that_is_kept_no_more_is_asked_for_with_the_bytes_of_its_version(
    tmp_path: Path,
) -> None:
    """It was owed again, or another process answered meanwhile: nothing can be made of nothing."""
    worker, version, delivered = worker_over(tmp_path, FakeChannel())
    version.assembly = None
    worker.submit(version)
    assert delivered.get(timeout=60) == Forgotten(version)
    worker.close()


class Taken:
    """A channel whose queue another process consumes, and which then requests a stop."""

    is_subscribed = False

    def __init__(self, event_buffer: EventBuffer) -> None:
        self._event_buffer = event_buffer

    def subscribe(self, _prefetch: int) -> None:
        raise RefusedByBrokerError(403, "queue in use by another client, exclusive access refused")

    def let_go(self) -> None:
        self._event_buffer.put_event(Stop("the folder is free"))

    def goodbye(self, *_: object) -> None:
        pass

    def close(self) -> bool:
        return True


def test_who_finds_its_id_taken_leaves_the_folder(tmp_path: Path) -> None:
    """Else one process would hold the id and another the folder, for ever."""
    event_buffer = EventBuffer()
    taken: Any = Taken(event_buffer)
    participant = Participant(
        ParticipantSettings(id="ann", state_dir=tmp_path),
        channel=taken,
        receiver=VersionReceiver(LIMITS, lambda _: None),
        worker=taken,
        event_buffer=event_buffer,
        membership=taken,
        say=lambda _event: None,
    )
    assert participant.run()


def test_the_state_of_an_old_backup_is_told(tmp_path: Path) -> None:
    """It looks like that of somebody who was away for long, so its versions are named, once."""
    keep(TrainingState(tmp_path, LIMITS))
    worker, version, delivered = worker_over(tmp_path, FakeChannel())
    version.number = 5
    worker.submit(version)
    told = delivered.get(timeout=60)
    assert told == Told(StateIsOlder(version=3, newest=5, file=FILE))
    assert f"remove {FILE}" in sentence(told.event)
    for _ in range(2):
        assert isinstance(delivered.get(timeout=60), Answered)
        worker.submit(version)
    worker.close()


def test_state_of_the_version_before_is_not_worth_a_word(tmp_path: Path) -> None:
    """It is what a restart finds."""
    keep(TrainingState(tmp_path, LIMITS), head=torch.ones(2))
    worker, version, delivered = worker_over(tmp_path, FakeChannel())
    version.number = 4
    worker.submit(version)
    assert isinstance(delivered.get(timeout=60), Answered)
    worker.close()


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """In one sentence."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInputError, match=r"--state-dir .* cannot be used"):
        StateFolder(tmp_path / "file" / "state", LIMITS)
    (tmp_path / "probe.incoming").mkdir()
    with pytest.raises(InvalidInputError, match=r"cannot be used \(Is a directory\)"):
        StateFolder(tmp_path, LIMITS)


def test_a_damaged_file_is_told_each_time_it_is_asked_for(tmp_path: Path) -> None:
    """And our own lock does not pass for another's."""
    (tmp_path / FILE).write_bytes(b"{}")
    folder = StateFolder(tmp_path, LIMITS)
    for _ in range(2):
        with pytest.raises(InvalidInputError, match="is damaged"):
            folder.take()
