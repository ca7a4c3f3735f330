"""Facts about what a participant does first."""

from typing import Any

from fanfold.participant.service import Participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.participant.version import Version
from fanfold.participant.version_receiver import VersionReceiver
from fanfold.participant.worker_events import Activity, Answered
from fanfold.schemas.chunking import cut
from fanfold.schemas.message_codec import TensorBytes, encode
from fanfold.schemas.messages import GlobalParameters, TrainingPlan
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery, EventBuffer, Stop, Subscription


class Subscribed:
    """A channel that receives, and publishes nothing."""

    is_subscribed = True

    def is_current(self, _subscription: Subscription) -> bool:
        return True


class Silent:
    """A membership that tells nobody."""

    def __getattr__(self, _told: str) -> Any:
        return lambda *_: True


def test_a_version_is_with_the_worker_before_people_are_told_of_it() -> None:
    """The round waits for the training, and nobody waits for what people read."""
    events, done = EventBuffer(), list[str]()

    class Notes:
        activity = Activity()

        def submit(self, version: Version) -> None:
            done.append(f"submitted {version.number}")
            events.put_event(Answered(version, 80, None))
            events.put_event(Stop("a version is here"))

        def abandon(self) -> None:
            """Nothing is under way."""

        def close(self) -> bool:
            return True

    tensor = TensorBytes("w", "float32", (20,), "value", "raw", memoryview(bytes(80)))
    message = GlobalParameters(run="run", version=3, rounds=9, plan=TrainingPlan())
    (chunk,) = cut(encode(message, [tensor]), epoch=1)
    subscription = Subscription("queue", "ann", 1)
    events.put(
        Delivery(
            subscription,
            1,
            redelivered=False,
            kind=chunk.kind,
            message_id=chunk.message_id,
            user_id="lab",
            headers=chunk.headers,
            body=bytes(chunk.body),
        ),
        patience_seconds=0,
    )
    fakes: Any = Subscribed(), Notes(), Silent()
    assert Participant(
        ParticipantSettings(id="ann", grace_seconds=0),
        channel=fakes[0],
        receiver=VersionReceiver(ReaderLimits(max_bytes=1 << 20), lambda _delivery: None),
        worker=fakes[1],
        event_buffer=events,
        membership=fakes[2],
        say=lambda event: done.append(event.name),
    ).run()
    assert done[:2] == ["submitted 3", "version_received"]
