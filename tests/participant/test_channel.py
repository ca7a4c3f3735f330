"""Facts about what a participant says on the broker while it is busy there."""

import threading
from collections.abc import Iterator

import pytest

from fanfold.participant.channel import ParticipantChannel
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.errors import BrokerUnreachableError
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import Progress, Update
from fanfold.schemas.names import EVENT_KEY, UPDATE_KEY, FederationNames
from fanfold.transport import Connection

PROGRESS = Progress(participant="ann", instance="1", run="run", version=3, phase="uploading")
UPDATE = Update(
    run="run", participant="ann", base_version=3, base_digest="a" * 64, num_examples=1, metrics={}
)


class LongUpload:
    """An update of two chunks, the second of which waits until it is asked for."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Chunk]:
        (chunk,) = cut(encode(UPDATE))
        yield chunk
        self.has_begun.set()
        self.may_end.wait(60)
        yield chunk


@pytest.fixture
def connections(broker_url: str, federation: str) -> Iterator[tuple[Connection, Connection]]:
    """Two connections, on a broker where a coordinator has declared what it reads."""
    names = FederationNames(federation)
    with (
        Connection([broker_url], name="consumes") as one,
        Connection([broker_url], name="publishes") as other,
    ):
        one.wait_connected(30)
        other.wait_connected(30)
        one.declare_exchange(names.reports_exchange, "direct")
        for queue, key in ((names.results_queue, UPDATE_KEY), (names.events_queue, EVENT_KEY)):
            one.declare_queue(queue)
            one.bind_queue(queue, names.reports_exchange, key)
        yield one, other


def test_signs_of_life_go_on_during_a_long_upload(
    connections: tuple[Connection, Connection], federation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of silence would be an hour of absence; but a blocked broker hears none of them."""
    consuming, publishing = connections
    names, upload = FederationNames(federation), LongUpload()
    channel = ParticipantChannel(names, "ann", consuming=consuming, publishing=publishing)
    uploading = threading.Thread(target=channel.publish_update, args=(upload,))
    uploading.start()
    try:
        assert upload.has_begun.wait(30)
        channel.tell(PROGRESS, timeout_seconds=10)
        assert consuming.declare_queue(names.events_queue).num_ready == 1
        with monkeypatch.context() as patch:
            patch.setattr(publishing._session._publisher, "blocked", True)
            with pytest.raises(BrokerUnreachableError, match="takes no messages now"):
                channel.tell(PROGRESS, timeout_seconds=10)
    finally:
        upload.may_end.set()
        uploading.join()
    assert consuming.declare_queue(names.results_queue).num_ready == 2
