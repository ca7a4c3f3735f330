"""Facts about uploads that are cut off, or not taken at once."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fanfold.participant import uploader as module
from fanfold.participant.sent_chunks import SentChunks
from fanfold.participant.uploader import Uploader
from fanfold.schemas.border import IN_CLEAR
from fanfold.schemas.chunking import Chunk
from fanfold.schemas.errors import (
    PublishCancelledError,
    QueueFullError,
    RefusedByBrokerError,
    UnroutableError,
)
from fanfold.transport import Backoff
from tests.participant.test_sent_chunks import encoded

EVERY = [0, 1, 2, 3, 4, 5]


class Broker:
    """A channel to a broker that takes so many chunks, and then ends the upload with an error."""

    border = IN_CLEAR

    def __init__(self, *errors: Exception, takes: int = 2) -> None:
        self._errors = [*errors]
        self._takes = takes
        self.published: list[list[int]] = []
        """The indices of the chunks of each attempt."""

    def publish_update(self, chunks: Iterable[Chunk], confirmed: Callable[[int], None]) -> None:
        self.published.append([])
        for chunk in chunks:
            if self._errors and len(self.published[-1]) == self._takes:
                raise self._errors.pop(0)
            self.published[-1].append(chunk.header.index)
            confirmed(chunk.header.index)


def upload(broker: Broker, sent: SentChunks) -> bool:
    channel: Any = broker
    return Uploader(channel, chunk_bytes=1024, abandoned=threading.Event()).upload(encoded(), sent)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPLOADS_AGAIN", Backoff(0.001, 0.001))


def test_an_upload_that_was_given_up_goes_on_in_the_next_process(tmp_path: Path) -> None:
    """Then it is done: what is asked for again is sent whole."""
    broker = Broker(PublishCancelledError("told to stop"))
    assert not upload(broker, SentChunks(tmp_path))
    assert upload(broker, SentChunks(tmp_path))
    assert upload(broker, SentChunks(tmp_path))
    assert broker.published == [[0, 1], [2, 3, 4, 5], EVERY]


def test_a_full_queue_is_sent_only_what_it_lacks() -> None:
    """Else an update that is larger than the room in the queue would fill it with its beginning."""
    broker = Broker(QueueFullError("full"), QueueFullError("full"))
    assert upload(broker, SentChunks(None))
    assert broker.published == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    "error", [UnroutableError("no queue"), RefusedByBrokerError(404, "no exchange")]
)
def test_a_queue_that_is_gone_took_what_it_held_along(tmp_path: Path, error: Exception) -> None:
    broker = Broker(error)
    assert upload(broker, SentChunks(tmp_path))
    assert broker.published == [[0, 1], EVERY]
