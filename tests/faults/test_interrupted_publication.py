"""What a participant makes of versions from a coordinator that died while it published them."""

import torch

from fanfold.participant.version_receiver import VersionReceiver
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.transport import Delivery, Subscription

LIMITS = ReaderLimits(max_bytes=1 << 20)
SUBSCRIPTION = Subscription("f.participant.a", "a", 1)


def version(run: str, number: int, epoch: int) -> list[Chunk]:
    message = GlobalParameters(run=run, version=number, rounds=9, plan=TrainingPlan())
    encoded = encode_tensors(message, {"w": torch.full((1000,), float(number))})
    return cut(encoded, chunk_bytes=1024, epoch=epoch)


class Queue:
    """A queue whose consumer may hold `window` unacknowledged deliveries."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._ready: list[Chunk] = []
        self._next_tag = 1
        self.unacknowledged: set[int] = set()
        self.receiver = VersionReceiver(LIMITS, self._acknowledge)

    def publish(self, chunks: list[Chunk]) -> None:
        self._ready += chunks
        self._hand_out()

    def drop(self) -> None:
        """The operator purges the queue."""
        self._ready.clear()

    def _acknowledge(self, delivery: Delivery) -> None:
        self.unacknowledged.discard(delivery.tag)

    def _hand_out(self) -> None:
        while self._ready and len(self.unacknowledged) < self._window:
            chunk = self._ready.pop(0)
            tag, self._next_tag = self._next_tag, self._next_tag + 1
            self.unacknowledged.add(tag)
            self.receiver.take(
                Delivery(
                    SUBSCRIPTION,
                    tag,
                    redelivered=False,
                    kind=chunk.kind,
                    message_id=chunk.message_id,
                    user_id="guest",
                    headers=chunk.headers,
                    body=bytes(chunk.body),
                )
            )


def test_half_a_version_and_then_all_of_it_do_not_fill_the_window() -> None:
    """The successor sends the same version whole, and the window of one version suffices."""
    first, again = version("r", 3, epoch=1), version("r", 3, epoch=2)
    for cut_at in range(len(first)):
        queue = Queue(window=len(first))
        queue.publish(first[:cut_at] + again)
        started = queue.receiver.start()
        assert started is not None
        assert (started.number, started.epoch) == (3, 2)
        assert len(queue.unacknowledged) == len(first)
        queue.receiver.answer()
        assert not queue.unacknowledged


def test_a_version_sent_again_while_it_is_in_training_takes_no_window() -> None:
    """One delivery of each chunk stays unacknowledged, whatever comes on top."""
    chunks = version("r", 3, epoch=1)
    queue = Queue(window=len(chunks) + 1)
    queue.publish(chunks)
    assert queue.receiver.start() is not None
    queue.publish(version("r", 3, epoch=1))
    assert len(queue.unacknowledged) == len(chunks)
    queue.receiver.answer()
    assert not queue.unacknowledged


def test_an_older_run_that_is_resumed_is_followed_again() -> None:
    """A past run is over for good only as far as the epoch it was left with."""
    window = len(version("a", 1, epoch=1))
    queue = Queue(window)
    held = []
    for run, number, epoch in (("a", 4, 1), ("b", 0, 1), ("a", 4, 1), ("a", 4, 2)):
        queue.publish(version(run, number, epoch))
        if (started := queue.receiver.start()) is not None:
            held.append((started.run, started.epoch))
            queue.receiver.answer()
    assert held == [("a", 1), ("b", 1), ("a", 2)]
