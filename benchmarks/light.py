"""Participants without torch, of which 64 fit on a small machine.

Only the training worker is replaced: it answers each version with a delta of the same size that it
made once. Service, receiver, channel, connections and messages are those of a real participant.

    python -m benchmarks.light --federation F --count 64        # broker from FANFOLD_BROKER_URL
"""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import typer

from benchmarks.answers import NUM_EXAMPLES, Answers
from fanfold.access.broker_environment import BROKER_VARIABLE
from fanfold.local.parent_watch import end_with_parent
from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.membership import Membership
from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.version import Version
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.participant.worker_events import Activity, Answered, Failed, last_words
from fanfold.schemas.chunking import cut
from fanfold.schemas.events.event import Event
from fanfold.schemas.messages import UpdateRefused
from fanfold.schemas.names import FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Connection, EventBuffer, Stop

LIMITS = ReaderLimits(max_bytes=2 << 30)


class IdentityWorker:
    """Answers each version without training, and uploads the update as `TrainingWorker` does."""

    def __init__(
        self, participant: str, channel: ParticipantChannel, event_buffer: EventBuffer
    ) -> None:
        """Make a worker that puts its events into `event_buffer`."""
        self._participant = participant
        self._channel = channel
        self._event_buffer = event_buffer
        self._answers = Answers()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="work")
        self.activity = Activity()

    def submit(self, version: Version) -> None:
        """Answer a version."""
        self._thread.submit(self._work, version)

    def refused(self, note: UpdateRefused) -> None:
        """Do nothing: no update is kept that would have to be removed."""

    def keep_final(self, version: Version) -> None:
        """Do nothing: a benchmark has no use for a model."""

    def let_go(self) -> None:
        """Do nothing: there is no state folder to let go of."""

    def abandon(self) -> None:
        """Do nothing: there is no training to stop."""

    def close(self) -> bool:
        """Wait for the thread."""
        self._thread.shutdown()
        return True

    def _work(self, version: Version) -> None:
        try:
            encoded = self._answers.to(version, self._participant)
            self._channel.publish_update(cut(encoded))
        except BaseException as error:  # raised again in the service's thread
            self._event_buffer.put_event(Failed(version, error, last_words(error)))
        else:
            self._event_buffer.put_event(Answered(version, encoded.num_bytes, None))


def take_part(federation: str, name: str) -> None:
    """Run one participant until SIGTERM."""
    settings = ParticipantSettings(id=name, progress_seconds=2.0)
    event_buffer = EventBuffer()
    urls = os.environ[BROKER_VARIABLE].split()
    consuming, publishing = (
        Connection(
            urls, name=f"{federation} participant {name} {purpose}", event_buffer=event_buffer
        )
        for purpose in ("consumes", "publishes")
    )
    channel = ParticipantChannel(
        FederationNames.of(federation), name, consuming=consuming, publishing=publishing
    )
    participant = Participant(
        settings,
        channel=channel,
        receiver=VersionReceiver(LIMITS, channel.acknowledge),
        worker=IdentityWorker(name, channel, event_buffer),
        event_buffer=event_buffer,
        membership=Membership(
            channel,
            name,
            device="cpu",
            num_examples=NUM_EXAMPLES,
            alive_seconds=settings.progress_seconds,
        ),
        say=_nothing,
    )

    def stop(*_: object) -> None:
        threading.Thread(target=event_buffer.put_event, args=(Stop("SIGTERM"),)).start()

    signal.signal(signal.SIGTERM, stop)
    with consuming, publishing:
        consuming.wait_connected(60)
        publishing.wait_connected(60)
        participant.run()


def main(federation: str = "fanfold", count: int = 4) -> None:
    """Run that many participants, each in a process of its own, until SIGTERM."""
    children = []
    for index in range(count):
        child = os.fork()  # the modules are imported once for all; there are no threads yet
        if not child:
            take_part(federation, f"light-{index}")
            os._exit(0)
        children.append(child)

    def stop(*_: object) -> None:
        for each in children:
            os.kill(each, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    end_with_parent()  # the benchmark that started this process may be killed
    for each in children:
        os.waitpid(each, 0)


def _nothing(_event: Event) -> None:
    """Report nothing."""


if __name__ == "__main__":
    typer.run(main)
