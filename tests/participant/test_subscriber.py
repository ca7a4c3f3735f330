"""Facts about how a participant reads its own queue, and when it says that it is there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from fanfold.participant.channel import ParticipantChannel
from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.subscriber import SUBSCRIBES_AGAIN, Subscriber
from fanfold.participant.version import Version
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.participant.worker_events import Activity
from fanfold.schemas.chunking import cut
from fanfold.schemas.errors import NOT_FOUND, PRECONDITION_FAILED, RefusedByBrokerError
from fanfold.schemas.message_codec import TensorBytes, encode
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.names import FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Connection, Delivery, EventBuffer, Stop, SubscriptionLost, outgoing

LIMITS = ReaderLimits(max_bytes=1 << 20)
TAKEN = RefusedByBrokerError(403, "queue in use by another client, exclusive access refused")


class Counting(EventBuffer):
    """Notes every delivery that is taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: list[Delivery] = []

    def get(
        self, timeout_seconds: float | None = None, *, leave_deliveries: bool = False
    ) -> object | None:
        event = super().get(timeout_seconds, leave_deliveries=leave_deliveries)
        if isinstance(event, Delivery):
            self.deliveries.append(event)
        return event


class StopsAtFirst:
    """A worker that has the service leave as soon as it gets a version."""

    activity = Activity()

    def __init__(self, event_buffer: EventBuffer) -> None:
        self.versions: list[Version] = []
        self._event_buffer = event_buffer

    def submit(self, version: Version) -> None:
        self.versions.append(version)
        self._event_buffer.put_event(Stop("a version is here"))

    def abandon(self) -> None:
        """Nothing is under way."""

    def let_go(self) -> None:
        """Nothing is held."""

    def close(self) -> bool:
        return True


class Tells:
    """A membership that notes what it tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def hello(self, _held: object) -> bool:
        self.told.append("hello")
        return True

    def progress(self, _held: object, activity: Activity) -> bool:
        self.told.append(activity.phase)
        return True

    def goodbye(self, _reason: str, _answered: object) -> bool:
        self.told.append("goodbye")
        return True


def subscriber_of(
    channel: Any,
    membership: Any,
    worker: Any,
    receiver: Any,
    *,
    clock: Callable[[], float],
    said: list[str] | None = None,
) -> Subscriber:
    """Return the subscriber of ann among fakes; `said` takes the names of what it says."""
    told = [] if said is None else said
    return Subscriber(
        ParticipantSettings(id="ann"),
        channel=channel,
        receiver=receiver,
        membership=membership,
        worker=worker,
        say=lambda event: told.append(event.name),
        clock=clock,
    )


@pytest.fixture
def connections(broker_url: str) -> Iterator[tuple[Connection, Connection, Counting]]:
    events = Counting()
    with (
        Connection([broker_url], name="consumes", event_buffer=events) as consuming,
        Connection([broker_url], name="publishes", event_buffer=events) as publishing,
    ):
        consuming.wait_connected(30)
        publishing.wait_connected(30)
        yield consuming, publishing, events


@pytest.mark.slow
def test_no_chunk_of_the_first_version_comes_twice(
    connections: tuple[Connection, Connection, Counting], federation: str
) -> None:
    """The first one tells how many there are, and is kept while the window grows to that."""
    consuming, publishing, events = connections
    channel = ParticipantChannel(
        FederationNames(federation), "ann", consuming=consuming, publishing=publishing
    )
    queue = FederationNames(federation).participant_queue("ann")
    tensor = TensorBytes("w", "float32", (2000,), "value", "raw", memoryview(bytes(8000)))
    message = GlobalParameters(run="run", version=0, rounds=1, plan=TrainingPlan())
    chunks = cut(encode(message, [tensor]), chunk_bytes=1024, epoch=1)
    assert len(chunks) > 5
    publishing.declare_queue(queue)
    publishing.publish(outgoing(chunks, "", queue))

    worker, membership = StopsAtFirst(events), Tells()
    fakes: Any = worker, membership
    participant = Participant(
        ParticipantSettings(id="ann", grace_seconds=0),
        channel=channel,
        receiver=VersionReceiver(LIMITS, channel.acknowledge),
        worker=fakes[0],
        event_buffer=events,
        membership=fakes[1],
        say=lambda *_: None,
    )
    assert participant.run()
    (version,) = worker.versions
    assert version.assembly is not None
    assert version.assembly.complete
    assert [each.message_id for each in events.deliveries] == [each.message_id for each in chunks]
    assert not any(each.redelivered for each in events.deliveries)
    assert membership.told == ["hello", "training", "goodbye"]


class Refusing:
    """A channel whose queue another process consumes."""

    is_subscribed = False
    asked = 0

    def subscribe(self, _prefetch: int) -> None:
        self.asked += 1
        raise TAKEN


def test_a_taken_id_is_asked_for_again_after_pauses_that_double() -> None:
    """By the service's clock, up to five seconds; and nothing is said in the other's name."""
    now = 1000.0
    channel, membership, said = Refusing(), Tells(), list[str]()
    subscriber = subscriber_of(
        channel,
        membership,
        StopsAtFirst(EventBuffer()),
        VersionReceiver(LIMITS, lambda _: None),
        clock=lambda: now,
        said=said,
    )
    pauses = []
    for _ in range(8):
        subscriber.do_duties()
        pauses.append(subscriber.next_duty_at - now)
        subscriber.do_duties()  # too early: nothing is asked
        now = subscriber.next_duty_at
    assert pauses == pytest.approx([SUBSCRIBES_AGAIN.seconds(count) for count in range(1, 9)])
    assert (pauses[-1], channel.asked) == (pytest.approx(5.0), 8)
    assert (said, membership.told) == (["id_taken"], [])


@pytest.mark.parametrize(("code", "level"), [(NOT_FOUND, "info"), (PRECONDITION_FAILED, "warning")])
def test_a_queue_that_is_made_anew_is_no_reason_to_warn(code: int, level: str) -> None:
    """A coordinator does so at a first start, with its own limits in the place of enrolment's."""
    subscription: Any = object()
    channel, lost = Subscribed(), SubscriptionLost(subscription, code, "why")
    worker = StopsAtFirst(EventBuffer())
    subscriber = subscriber_of(channel, Tells(), worker, Held(), clock=lambda: 1000.0)
    with capture_logs() as logs:
        subscriber.notice(lost)
    assert [each["log_level"] for each in logs] == [level]
    assert not channel.is_subscribed


class Subscribed:
    """A channel that reads its queue."""

    is_subscribed = True

    def is_current(self, _subscription: object) -> bool:
        return True

    def lost(self) -> None:
        self.is_subscribed = False


class Held:
    """A receiver that holds a version."""

    held = Version("run", 1, 3, "0" * 64, 1, None)

    def disconnected(self) -> None:
        """Wait for the chunks to come again."""


def test_training_and_upload_are_told_when_they_begin() -> None:
    """At most once a second; otherwise there is a report every ten seconds."""
    now = 1000.0
    channel, membership, worker = Refusing(), Tells(), StopsAtFirst(EventBuffer())
    channel.is_subscribed = True
    worker.activity = Activity()
    subscriber = subscriber_of(channel, membership, worker, Held(), clock=lambda: now)

    def told_until(end: float) -> list[tuple[float, str]]:
        nonlocal now
        told = []
        while subscriber.next_duty_at <= end:
            now = max(now, subscriber.next_duty_at)
            subscriber.do_duties()
            told += [(now, each) for each in membership.told]
            membership.told.clear()
        now = end
        return told

    subscriber.begins_training()
    assert membership.told == ["training"]
    membership.told.clear()
    worker.activity = Activity("uploading")
    assert told_until(1003.5) == [(1001, "uploading")]
    worker.activity = Activity()
    subscriber.begins_training()
    assert membership.told == ["training"]
    membership.told.clear()
    subscriber.begins_training()  # the next round, at once
    worker.activity = Activity("training")
    assert membership.told == []
    assert told_until(1020) == [(1004, "training"), (1014, "training")]


def test_who_lacks_the_base_of_a_difference_says_hello_until_the_version_comes_whole() -> None:
    """At once, and in place of each report: a hello may be lost, or the coordinator away."""
    now = 1000.0
    channel, membership = Refusing(), Tells()
    channel.is_subscribed = True
    receiver = Held()
    receiver.held = replace(receiver.held, wants_whole=True)
    worker = StopsAtFirst(EventBuffer())
    subscriber = subscriber_of(channel, membership, worker, receiver, clock=lambda: now)
    subscriber.ask_for_whole()
    assert membership.told == ["hello"]
    now = 1010.0
    subscriber.do_duties()
    assert membership.told == ["hello", "hello"]
    receiver.held = replace(receiver.held, wants_whole=False)
    now = 1020.0
    subscriber.do_duties()
    assert membership.told == ["hello", "hello", "waiting"]
