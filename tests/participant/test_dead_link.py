"""Facts about a participant whose link can publish nothing any more."""

from pathlib import Path
from typing import Any

import pytest

from learning import TaskError
from participant.memory import Memory
from participant.service import Participant
from participant.settings import ParticipantSettings
from participant.work import Failed
from schemas import chunks
from schemas.errors import InvalidInputError, LinkClosedError, MessageTooLargeError
from tests.participant.small_slot import LIMITS, Desk, slot_over
from transport import Ended, Inbox

DEAD = LinkClosedError("the link 'publishes' failed: ZeroDivisionError()")
NOBODY: Any = None


class DeadDesk(Desk):
    def publish_update(self, chunks: Any) -> None:
        raise DEAD


class SmallDesk(Desk):
    def publish_update(self, chunks: Any) -> None:
        raise MessageTooLargeError(406, "PRECONDITION_FAILED", len(next(iter(chunks)).body))


class Idle:
    """The voice and the slot of a participant that does nothing but leave."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def goodbye(self, reason: str, answered: object) -> None:
        self.reasons.append(reason)

    def close(self) -> None:
        pass


def left_over(event: object, error: type[Exception], words: str) -> list[str]:
    """The reasons of the goodbyes of a participant that an event ends with an error."""
    inbox, idle = Inbox(), Idle()
    anything: Any = idle
    participant = Participant(
        ParticipantSettings(id="ann"),
        desk=NOBODY,
        reader=NOBODY,
        slot=anything,
        inbox=inbox,
        voice=anything,
        say=lambda *_: None,
    )
    participant._desk = type("Desk", (), {"is_subscribed": True})()
    inbox.put_event(event)
    with pytest.raises(error, match=words):
        participant.run()
    return idle.reasons


def test_an_upload_on_a_dead_link_is_an_error() -> None:
    """Taken for an orderly end, it would leave a participant that is alive and never trains."""
    slot, version, delivered = slot_over(None, DeadDesk())
    slot.submit(version)
    failed = delivered.get(timeout=60)
    assert isinstance(failed, Failed)
    assert failed.error is DEAD
    slot.close()


def test_a_broker_that_takes_no_chunk_of_this_size_is_not_asked_again() -> None:
    """Only a person can choose a smaller --chunk-bytes, so a person is told."""
    slot, version, delivered = slot_over(None, SmallDesk())
    slot.submit(version)
    failed = delivered.get(timeout=60)
    slot.close()
    assert isinstance(failed, Failed)
    assert "choose a smaller --chunk-bytes" in str(failed.error)


def test_an_update_of_too_many_chunks_is_told_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next life sends it in larger ones, and trains nothing twice."""
    slot, version, delivered = slot_over(tmp_path, Desk(), chunk_bytes=1024)
    monkeypatch.setattr(chunks, "MAX_CHUNKS", 2)
    slot.submit(version)
    failed = delivered.get(timeout=60)
    slot.close()
    assert isinstance(failed, Failed)
    assert "choose --chunk-bytes" in str(failed.error)
    assert Memory(tmp_path, LIMITS).answer_to(version) is not None


def test_a_link_that_ends_by_itself_ends_the_participant() -> None:
    """With an error, so that whoever watches over the process starts it again."""
    reasons = left_over(Ended(NOBODY, DEAD), LinkClosedError, "failed: ZeroDivisionError")
    assert reasons == [str(DEAD)]


class Wrong(Desk):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def publish_update(self, chunks: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TaskError("there are no scans"), "there are no scans"),
        (InvalidInputError("another network"), "another network"),
        (KeyError("Ms Smith"), "it failed with KeyError; its own log says more"),
    ],
)
def test_a_goodbye_says_which_error_ended_the_work(error: Exception, words: str) -> None:
    """In our own sentences; those of other people's code may hold what is private."""
    slot, version, delivered = slot_over(None, Wrong(error))
    slot.submit(version)
    failed = delivered.get(timeout=60)
    slot.close()
    assert left_over(failed, type(error), str(error)) == [words]
