"""Facts about which version a participant trains on, without a broker: deliveries in, acks out."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from named_events import named

from fanfold.participant.version import Version
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.events.participant import VersionOfOlderEpoch
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import GlobalParameters, RunFinished, TrainingPlan
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.transport import Delivery, Subscription
from fanfold.views.sentences import sentence

LIMITS = ReaderLimits(max_bytes=1 << 16)


def version(number: int, *, run: str = "run", epoch: int = 1) -> list[Chunk]:
    """Return a version of four chunks."""
    message = GlobalParameters(run=run, version=number, rounds=9, plan=TrainingPlan())
    encoded = encode_tensors(message, {"w": torch.zeros(800)})
    return cut(encoded, chunk_bytes=1024, epoch=epoch)


class Queue:
    """Hands chunks to a reader, and remembers what was acknowledged."""

    def __init__(self, border: Border = IN_CLEAR) -> None:
        self.acknowledged: list[int] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.receiver = VersionReceiver(
            LIMITS,
            lambda delivery: self.acknowledged.append(delivery.tag),
            say=lambda event: self.said.append(named(event)),
            border=border,
        )
        self.tag = 0

    def deliver(self, chunks: Sequence[Chunk]) -> list[int]:
        tags = []
        for chunk in chunks:
            self.tag += 1
            tags.append(self.tag)
            self.receiver.take(
                Delivery(
                    subscription=Subscription("queue", "tag", 1),
                    tag=self.tag,
                    redelivered=False,
                    kind=chunk.kind,
                    message_id=chunk.message_id,
                    user_id="guest",
                    headers=chunk.headers,
                    body=bytes(chunk.body),
                )
            )
        return tags

    def start(self) -> Version:
        started = self.receiver.start()
        assert started is not None
        return started


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_a_version_stays_unacknowledged_until_it_is_answered(queue: Queue) -> None:
    """So that the management UI shows who trains, and a crash redelivers."""
    tags = queue.deliver(version(0))
    assert queue.start().number == 0
    assert queue.acknowledged == []
    queue.receiver.answer()
    assert queue.acknowledged == tags


def test_a_version_that_is_not_whole_is_not_started(queue: Queue) -> None:
    """Its last chunk starts it."""
    chunks = version(0)
    queue.deliver(chunks[:-1])
    assert queue.receiver.start() is None
    queue.deliver(chunks[-1:])
    assert queue.start().number == 0


def test_the_newest_wins(queue: Queue) -> None:
    """Older ones, and the headless rest of one, are acknowledged and thrown away."""
    headless = queue.deliver(version(3)[2:])
    newer = queue.deliver(version(5))
    assert queue.acknowledged == headless
    older = queue.deliver(version(4))
    assert queue.acknowledged == headless + older
    assert queue.start().number == 5
    assert newer[0] not in queue.acknowledged


def test_a_newer_version_waits_while_one_is_in_training(queue: Queue) -> None:
    """And replaces one that waited before."""
    queue.deliver(version(0))
    queue.start()
    queue.deliver(version(1))
    queue.deliver(version(2))
    queue.receiver.answer()
    assert queue.start().number == 2


def test_a_redelivery_of_what_is_in_training_is_adopted(queue: Queue) -> None:
    """The new delivery tags count, the old ones died with their channel; nothing trains twice."""
    chunks = version(0)
    queue.deliver(chunks)
    queue.start()
    queue.receiver.disconnected()
    again = queue.deliver(chunks)
    assert queue.receiver.start() is None
    assert queue.acknowledged == []
    queue.receiver.answer()
    assert queue.acknowledged == again
    assert not queue.receiver.was_sent_again()


def test_a_version_sent_again_after_its_answer_wants_the_answer_again(queue: Queue) -> None:
    """Once for each time it came whole, and also from a coordinator that was started again."""
    queue.deliver(version(0))
    queue.start()
    queue.receiver.answer()
    chunks = version(0, epoch=2)
    again = queue.deliver(chunks[:-1])
    assert not queue.receiver.was_sent_again()
    again += queue.deliver(chunks[-1:])
    assert queue.receiver.was_sent_again()
    assert not queue.receiver.was_sent_again()
    assert queue.acknowledged[-4:] == again
    assert queue.receiver.held is not None
    assert queue.receiver.held.epoch == 2


def test_an_older_epoch_is_ignored_even_with_a_higher_version(queue: Queue) -> None:
    """Falling back to an older checkpoint is a new epoch: what it publishes is newer."""
    queue.deliver(version(5, epoch=2))
    queue.start()
    queue.receiver.answer()
    ignored = queue.deliver(version(6, epoch=1))
    assert queue.acknowledged[-4:] == ignored
    queue.deliver(version(3, epoch=3))
    assert queue.start().number == 3


def test_another_run_is_newer_and_the_past_one_does_not_come_back(queue: Queue) -> None:
    """A queue keeps its order, but a straggler may arrive late."""
    queue.deliver(version(9, run="old"))
    queue.start()
    queue.receiver.answer()
    queue.deliver(version(0, run="new"))
    assert queue.start().run == "new"
    queue.receiver.answer()
    late = queue.deliver(version(10, run="old"))
    assert queue.acknowledged[-4:] == late
    assert queue.receiver.start() is None


def test_a_finished_run_leaves_nothing_to_wait_for(queue: Queue) -> None:
    """What came of it is acknowledged."""
    tags = queue.deliver(version(0)[:2])
    (note,) = cut(encode(RunFinished(run="run", version=0)), epoch=1)
    queue.deliver([note])
    queue.receiver.forget_run("run")
    assert set(tags) <= set(queue.acknowledged)
    assert queue.receiver.incoming is None


def test_a_damaged_chunk_costs_its_version_and_nothing_else(queue: Queue) -> None:
    """All of it is acknowledged, and the next one is taken."""
    chunks = version(0)
    tags = queue.deliver(chunks[:1])
    damaged = Chunk(chunks[1].header, b"?" * len(chunks[1].body))
    with pytest.raises(MalformedMessageError, match="another digest"):
        queue.deliver([damaged])
    assert set(queue.acknowledged) == {*tags, queue.tag}
    queue.deliver(version(1))
    assert queue.start().number == 1


def test_a_version_larger_than_the_own_network_is_of_another_one(queue: Queue) -> None:
    """A sentence for the person who started both."""
    message = GlobalParameters(run="run", version=0, rounds=9, plan=TrainingPlan())
    chunks = cut(encode_tensors(message, {"w": torch.zeros(20_000)}), epoch=1)
    with pytest.raises(
        InvalidInputError, match=r"trains another network.*start both with the same"
    ):
        queue.deliver(chunks)


def test_a_version_of_an_older_epoch_is_dropped_with_a_word(queue: Queue) -> None:
    """Once for each epoch: otherwise nobody would know why nothing is trained."""
    queue.deliver(version(3, epoch=7))
    queue.start()
    dropped = queue.deliver(version(4, epoch=2)) + queue.deliver(version(5, epoch=2))
    assert queue.acknowledged == dropped
    fields = {"run": "run", "version": 4, "epoch": 2, "newest_epoch": 7}
    assert queue.said == [("version_of_older_epoch", fields)]
    assert "ignored: epoch 2 is older than 7" in sentence(VersionOfOlderEpoch(**fields))
    queue.deliver(version(9, run="another", epoch=1))
    queue.receiver.answer()
    queue.start()
    queue.deliver(version(5, epoch=6))
    assert [said["epoch"] for _, said in queue.said] == [2, 6]


def test_an_older_version_of_the_same_epoch_is_ignored_with_a_word(queue: Queue) -> None:
    """Once for each: it was overtaken, or a folder was restored that nobody knows of."""
    queue.deliver(version(3))
    queue.start()
    dropped = queue.deliver(version(2)) + queue.deliver(version(2))
    assert queue.acknowledged == dropped
    queue.deliver(version(0, run="another"))
    queue.deliver(version(3))
    fields = {"run": "run", "version": 2, "epoch": 1, "held_version": 3, "held_epoch": 1}
    assert queue.said == [("version_ignored", fields)]


def test_a_version_whose_answer_is_not_kept_is_taken_anew(queue: Queue) -> None:
    """While it is in training it is not: then its bytes are here."""
    queue.deliver(version(3))
    held = queue.start()
    queue.receiver.forget_answer()
    assert queue.receiver.held is held
    queue.receiver.answer()
    queue.receiver.forget_answer()
    queue.deliver(version(3))
    assert queue.start().assembly is not None
