"""What a resident coordinator and its participants say of open runs."""

import pytest
from pydantic import ValidationError

from fanfold.coordinator.admission.event_decoder import EVENT_LIMITS
from fanfold.coordinator.broker.queue_arguments import ROOM_WITHOUT_VERSION_BYTES
from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import decode, encode
from fanfold.schemas.messages import Message
from fanfold.schemas.run_messages import MAX_OPEN_RUNS, OpenRun, OpenRuns, RunDeclined

LONGEST = OpenRun(run="r" * 64, task="\U00010400" * 200, task_sha256="0" * 64)


def travelled(message: Message) -> Message:
    (chunk,) = cut(encode(message))
    return decode(memoryview(chunk.body), kind=message.KIND, limits=EVENT_LIMITS).message


@pytest.mark.parametrize(
    "message",
    [
        OpenRuns(),
        OpenRuns(runs=(OpenRun(run="r1", task="a.b:C", task_sha256="ab" * 32),)),
        OpenRuns(runs=(LONGEST,) * MAX_OPEN_RUNS),
        RunDeclined(participant="alice", instance="1", run="r1", reason="another hash"),
        RunDeclined(participant="a" * 64, instance="1" * 64, run="r" * 64, reason="é" * 1024),
    ],
)
def test_a_message_arrives_as_it_was_sent_in_one_small_chunk(message: Message) -> None:
    """The longest ones too keep the bound of events."""
    assert travelled(message) == message


def test_the_longest_word_has_room_in_a_participants_queue() -> None:
    """A queue drops what is larger than itself."""
    (chunk,) = cut(encode(OpenRuns(runs=(LONGEST,) * MAX_OPEN_RUNS)))
    assert len(chunk.body) <= ROOM_WITHOUT_VERSION_BYTES


def test_more_runs_than_may_be_open_are_refused() -> None:
    with pytest.raises(ValidationError, match=f"at most {MAX_OPEN_RUNS} items"):
        OpenRuns(runs=(LONGEST,) * (MAX_OPEN_RUNS + 1))


@pytest.mark.parametrize("task", ["", "a b", "a\n", "a/b", "a" * 201, "\x1b[31m"])
def test_a_task_that_is_no_name_is_refused(task: str) -> None:
    """It stands in log lines and in what people are told."""
    with pytest.raises(ValidationError, match="String should match pattern"):
        OpenRun(run="r1", task=task, task_sha256="0" * 64)
