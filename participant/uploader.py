"""Publishing an update until the broker has it."""

import random
import threading
from collections.abc import Iterator, Sequence

import structlog

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.sent_chunks import SentChunks
from fanfold.schemas.chunking import Chunk
from fanfold.schemas.errors import (
    MessageTooLargeError,
    PublishCancelledError,
    QueueFullError,
    RefusedByBrokerError,
    UnroutableError,
)
from fanfold.schemas.message_codec import Encoded
from fanfold.transport import Backoff

log = structlog.get_logger()

UPLOADS_AGAIN = Backoff(0.5, 30.0)


class Uploader:
    """Uploads one update at a time. Called by the training worker's thread.

    Args:
        channel: where updates go.
        chunk_bytes: bytes in each chunk but the last.
        abandoned: set by another thread when the upload is to end.
    """

    def __init__(
        self, channel: ParticipantChannel, *, chunk_bytes: int, abandoned: threading.Event
    ) -> None:
        self._channel = channel
        self._chunk_bytes = chunk_bytes
        self._abandoned = abandoned

    def upload(self, encoded: Encoded, sent: SentChunks) -> bool:
        """Publish until the broker has it; False if told to stop before.

        A results queue that is full, or gone until a coordinator makes it anew, is waited for. What
        was in one that is gone may be lost, so then the whole update is published again.

        Args:
            encoded: the update.
            sent: what the broker has of it already, if an upload of it was cut off.

        Raises:
            InvalidInputError: if the update has too many chunks.
            MessageTooLargeError: if the broker takes no chunk of this size.
            ConnectionClosedError: if the connection has ended for good.
        """
        chunks = self._channel.border.seal(encoded, chunk_bytes=self._chunk_bytes)
        failures = 0
        while True:
            try:
                missing = self._until_abandoned(sent.missing(chunks))
                self._channel.publish_update(missing, sent.add)
            except PublishCancelledError:
                return False
            except MessageTooLargeError:
                raise  # waiting would not help
            except (QueueFullError, UnroutableError, RefusedByBrokerError) as error:
                log.warning("update not taken yet", reason=str(error))
                if not isinstance(error, QueueFullError):
                    sent.forget()
                failures += 1
                # a generator of its own: torch and `random` may be seeded for a training
                if self._abandoned.wait(UPLOADS_AGAIN.seconds(failures, random.Random().random())):
                    return False
            else:
                sent.forget()
                return True

    def _until_abandoned(self, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        """Yield chunks; asked for the first one, the publish is under way and can be given up."""
        for chunk in chunks:
            if self._abandoned.is_set():
                raise PublishCancelledError("told to stop")
            yield chunk
