"""Facts about versions that come as differences, without a broker: deliveries in, acks out."""

from dataclasses import replace

import torch

from fanfold.schemas.border import Clear
from fanfold.schemas.chunking import Chunk, ChunkHeader, cut
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.seal import Seal
from fanfold.schemas.tensor_codec import encode_tensors
from tests.participant.test_version_receiver import Queue, version


def difference(number: int, *, epoch: int = 1) -> list[Chunk]:
    """Return a version of two chunks, as the difference to the one before."""
    message = GlobalDifference(
        run="run",
        version=number,
        base="1" * 64,
        digest=version(number)[0].header.content,
        sha256="2" * 64,
        becomes=GlobalParameters(run="run", version=number, rounds=9, plan=TrainingPlan()),
    )
    encoded = encode_tensors(message, {"w": torch.ones(800)}, kinds={"w": "delta"}, encoding="int8")
    return cut(encoded, chunk_bytes=1024, epoch=epoch)


class Believing(Clear):
    """Takes a signature as it is, and opens nothing."""

    def problem(self, header: ChunkHeader) -> None:
        del header


def sealed(chunks: list[Chunk], serial: int) -> list[Chunk]:
    """Return chunks as if they were signed."""
    header = chunks[0].header
    seal = Seal(bytes(64), serial, header.content)
    return [replace(chunk, header=replace(chunk.header, seal=seal)) for chunk in chunks]


def test_a_difference_is_a_version_and_comes_again_after_a_reconnect() -> None:
    """It is recognised by what it came under, while it is in training, and not trained twice."""
    queue = Queue()
    tags = queue.deliver(difference(5))
    held = queue.receiver.start()
    assert held is not None
    held.digest = version(5)[0].header.content  # the worker has read it
    queue.receiver.disconnected()
    again = queue.deliver(difference(5))
    assert queue.receiver.start() is None
    queue.receiver.answer()
    assert queue.acknowledged == again
    assert len(tags) == len(again) == 2


def test_a_version_that_comes_whole_after_its_difference_asks_for_the_kept_update() -> None:
    """A reminder is whole, and so is what a coordinator publishes that was started again."""
    queue = Queue()
    queue.deliver(difference(5))
    held = queue.receiver.start()
    assert held is not None
    held.digest = version(5)[0].header.content
    queue.deliver(version(5)[:1])  # in training: dropped
    queue.receiver.answer()
    queue.deliver(version(5, epoch=2)[:3])
    assert not queue.receiver.was_sent_again()
    queue.deliver(version(5, epoch=2)[3:])
    assert queue.receiver.was_sent_again()
    assert queue.receiver.start() is None


def test_after_a_difference_that_cannot_be_applied_the_same_version_is_taken_whole() -> None:
    """Nothing of the difference stays unacknowledged."""
    queue = Queue()
    tags = queue.deliver(difference(5))
    queue.receiver.start()
    queue.receiver.ask_for_whole()
    assert queue.acknowledged == tags
    held = queue.receiver.held
    assert held is not None
    assert (held.wants_whole, held.number) == (True, 4)
    queue.deliver(version(5))
    taken = queue.receiver.start()
    assert taken is not None
    assert (taken.number, taken.wants_whole) == (5, False)


def test_a_difference_whose_rest_was_dropped_gives_way_to_the_whole_version() -> None:
    """A full queue drops its oldest chunks; what comes after them is all there will be."""
    queue = Queue()
    part = queue.deliver(difference(5)[:1])
    queue.deliver(version(5))
    assert queue.acknowledged == part
    taken = queue.receiver.start()
    assert taken is not None
    assert taken.digest == version(5)[0].header.content


def test_a_sealed_difference_gives_way_to_the_whole_version_too() -> None:
    """It was signed after that, for it names the seal of the whole one."""
    queue = Queue(Believing())
    part = queue.deliver(sealed(difference(5), serial=8)[:1])
    queue.deliver(sealed(version(5), serial=7))
    assert queue.acknowledged == part
    assert queue.start().num_chunks == 4
