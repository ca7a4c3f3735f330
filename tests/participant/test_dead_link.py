"""Facts about a participant whose connection can publish nothing any more."""

from pathlib import Path
from typing import Any

import pytest

from fanfold.learning import TaskError, TaskFailedError
from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.training_state import TrainingState
from fanfold.participant.worker_events import Failed
from fanfold.schemas import chunking
from fanfold.schemas.errors import ConnectionClosedError, InvalidInputError, MessageTooLargeError
from fanfold.transport import Ended, EventBuffer
from tests.participant.small_worker import LIMITS, FakeChannel, worker_over

DEAD = ConnectionClosedError("the connection 'publishes' failed: ZeroDivisionError()")
NOBODY: Any = None


class DeadChannel(FakeChannel):
    def publish_update(self, chunking: Any, confirmed: Any) -> None:
        raise DEAD


class SmallChannel(FakeChannel):
    def publish_update(self, chunking: Any, confirmed: Any) -> None:
        raise MessageTooLargeError(406, "PRECONDITION_FAILED", len(next(iter(chunking)).body))


class Idle:
    """The membership and the worker of a participant that does nothing but leave."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def goodbye(self, reason: str, answered: object) -> None:
        self.reasons.append(reason)

    def close(self) -> None:
        pass


def left_over(event: object, error: type[Exception], words: str) -> list[str]:
    """The reasons of the goodbyes of a participant that an event ends with an error."""
    event_buffer, idle = EventBuffer(), Idle()
    anything: Any = idle
    subscribed: Any = type("Channel", (), {"is_subscribed": True})()
    participant = Participant(
        ParticipantSettings(id="ann"),
        channel=subscribed,
        receiver=NOBODY,
        worker=anything,
        event_buffer=event_buffer,
        membership=anything,
        say=lambda _event: None,
    )
    event_buffer.put_event(event)
    with pytest.raises(error, match=words):
        participant.run()
    return idle.reasons


def test_an_upload_on_a_dead_connection_is_an_error() -> None:
    """Taken for an orderly end, it would leave a participant that is alive and never trains."""
    worker, version, delivered = worker_over(None, DeadChannel())
    worker.submit(version)
    failed = delivered.get(timeout=60)
    assert isinstance(failed, Failed)
    assert failed.error is DEAD
    worker.close()


def test_a_broker_that_takes_no_chunk_of_this_size_is_not_asked_again() -> None:
    """Only a person can choose a smaller --chunk-bytes, so a person is told."""
    worker, version, delivered = worker_over(None, SmallChannel())
    worker.submit(version)
    failed = delivered.get(timeout=60)
    worker.close()
    assert isinstance(failed, Failed)
    assert "choose a smaller --chunk-bytes" in str(failed.error)


def test_an_update_of_too_many_chunks_is_told_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next process sends it in larger ones, and trains nothing twice."""
    worker, version, delivered = worker_over(tmp_path, FakeChannel(), chunk_bytes=1024)
    monkeypatch.setattr(chunking, "MAX_CHUNKS", 2)
    worker.submit(version)
    failed = delivered.get(timeout=60)
    worker.close()
    assert isinstance(failed, Failed)
    assert "choose --chunk-bytes" in str(failed.error)
    assert TrainingState(tmp_path, LIMITS).answer_to(version) is not None


def test_a_connection_that_ends_by_itself_ends_the_participant() -> None:
    """With an error, so that whoever watches over the process starts it again."""
    reasons = left_over(Ended(NOBODY, DEAD), ConnectionClosedError, "failed: ZeroDivisionError")
    assert reasons == [str(DEAD)]


class Wrong(FakeChannel):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def publish_update(self, chunking: Any, confirmed: Any) -> None:
        raise self.error


def of_a_task(error: Exception) -> TaskFailedError:
    failed = TaskFailedError("reading the data failed in patients, scans.py line 3: 'Ms Smith'")
    failed.__cause__ = error
    return failed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TaskError("there are no scans"), "there are no scans"),
        (InvalidInputError("another network"), "another network"),
        (KeyError("Ms Smith"), "it failed with KeyError; its own log says more"),
        (of_a_task(KeyError("Ms Smith")), "it failed with KeyError; its own log says more"),
    ],
)
def test_a_goodbye_says_which_error_ended_the_work(error: Exception, words: str) -> None:
    """In our own sentences; those of other people's code may hold what is private."""
    worker, version, delivered = worker_over(None, Wrong(error))
    worker.submit(version)
    failed = delivered.get(timeout=60)
    worker.close()
    assert left_over(failed, type(error), str(error)) == [words]
