"""A coordinator over fake connections, on a clock that only moves when nothing is left to do.

What the broker would say is put into the event buffer by the test; what it is asked can be made to
fail.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from named_events import named
from torch import Tensor

from fanfold.coordinator.assembly import assemble
from fanfold.coordinator.broker.channel import CoordinatorChannel
from fanfold.coordinator.evaluation.run_result import RunResult
from fanfold.coordinator.observer import Unobserved
from fanfold.coordinator.round_loop import Coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.learning import Task
from fanfold.schemas.chunking import Chunk, ChunkHeader, cut
from fanfold.schemas.events.event import Event
from fanfold.schemas.message_codec import encode
from fanfold.schemas.messages import GlobalParameters, Hello, Message, Update
from fanfold.schemas.names import FederationNames
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.schemas.timestamps import Clock as WallClock
from fanfold.transport import (
    Bindings,
    Connected,
    ConnectionId,
    Delivery,
    EventBuffer,
    Outgoing,
    QueueState,
    Stop,
    Subscription,
)
from tests.federation.tiny_tasks import Tiny

LOGIN = "lab"
LIMITS = ReaderLimits(max_bytes=1 << 20)
MOST_REMINDERS = 20
REAL_SECONDS = 20.0
"""Nothing that a test waits for takes so long, unless it never comes."""
Kind = TypeVar("Kind")


class Clock:
    """Seconds that pass only when nothing is left to do."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FastEventBuffer(EventBuffer):
    """Where nothing comes, the time that one would have waited is over at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def get(
        self, timeout_seconds: float | None = None, *, leave_deliveries: bool = False
    ) -> object | None:
        if timeout_seconds is None:
            event = super().get(REAL_SECONDS, leave_deliveries=leave_deliveries)
            assert event is not None, "nothing is going to happen any more"
            return event
        event = super().get(0.1, leave_deliveries=leave_deliveries)  # other threads may put some
        if event is None:
            self._clock.now += timeout_seconds
        return event

    def find(self, kind: type[Kind], timeout_seconds: float) -> Kind | None:
        self._clock.now += timeout_seconds
        return super().find(kind, 0.0)


class FakeConnection:
    """Says yes to everything, except where `fails` holds errors under the name of what is asked."""

    def __init__(self, name: str) -> None:
        self.id = ConnectionId(name)
        self.connected = True
        self.logins = frozenset({LOGIN})
        self.fails: dict[str, list[Exception | None]] = defaultdict(list)
        """Errors by what is asked and of whom, as `declare_queue f.results`: one for each time, and
        None where it succeeds."""
        self.asked: list[str] = []
        self.on_ask: Callable[[str], None] = lambda _what: None
        """Called with whatever is asked, before the answer."""
        self.published: Callable[[list[Outgoing]], None] = lambda _messages: None
        self.subscriptions = {
            queue: Subscription(queue, "coordinator", 512) for queue in ("f.results", "f.events")
        }
        self.acknowledged: list[tuple[int, bool]] = []
        self.on_acknowledge: Callable[[], None] = lambda: None

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.on_ask(what)
        if self.fails[what] and (error := self.fails[what].pop(0)):
            raise error

    def declare_exchange(self, name: str, kind: str) -> None:
        self._ask(f"declare_exchange {name}")

    def declare_queue(
        self,
        name: str,
        *,
        arguments: dict[str, object],
        exclusive: bool = False,
        bindings: Sequence[tuple[str, str]] = (),
    ) -> QueueState:
        self._ask(f"declare_queue {name}")
        for _ in bindings:
            self._ask(f"bind_queue {name}")
        return QueueState(name, num_ready=0, num_consumers=0)

    def declare_queues(self, queues: Mapping[str, Bindings], **given: Any) -> list[QueueState]:
        return [self.declare_queue(name, bindings=each, **given) for name, each in queues.items()]

    def delete_queue(self, name: str) -> None:
        self._ask(f"delete_queue {name}")

    def bind_queue(self, queue: str, exchange: str, routing_key: str = "") -> None:
        self._ask(f"bind_queue {queue}")

    def subscribe(self, queue: str, *, prefetch: int, consumer_tag: str) -> Subscription:
        self._ask(f"subscribe {queue}")
        return self.subscriptions[queue]

    def wait_connected(self, timeout_seconds: float) -> None:
        self._ask("wait_connected")

    def unsubscribe(self, subscription: Subscription) -> None:
        self._ask(f"unsubscribe {subscription.queue}")

    def is_subscribed(self, subscription: Subscription) -> bool:
        return True

    def publish(self, messages: Iterable[Outgoing]) -> None:
        sent = list(messages)
        self._ask(f"publish {sent[0].exchange}")
        self.published(sent)

    @property
    def tags_acknowledged(self) -> set[int]:
        """As if there were but one queue; acknowledging several ends at the last of them."""
        return {tag for tag, _ in self.acknowledged}

    def acknowledge(self, delivery: Delivery, *, multiple: bool = False) -> None:
        self.acknowledged.append((delivery.tag, multiple))
        self.on_acknowledge()


class FakeBroker:
    """One coordinator of the federation `f`, and everything that its broker would do."""

    def __init__(self, folder: Path, *, wall_clock: WallClock | None = None) -> None:
        self._wall_clock = wall_clock
        self.clock = Clock()
        self.event_buffer = FastEventBuffer(self.clock)
        self.consuming = FakeConnection("consumes")
        self.publishing = FakeConnection("publishes")
        self.administering = FakeConnection("administers")
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.on_said: Callable[[str], None] = lambda _event: None
        """Called with the name of each event that is said."""
        self._folder = folder
        self._tags = 0
        self.run_id = ""
        self.base_digests: dict[int, str] = {}
        """Of each version that went out to all."""
        self.on_version: Callable[[int], object] = lambda _version: None
        """Called, in the publisher's thread, when a version has gone out to all."""
        self.on_resent: Callable[[str, int], object] = lambda _participant, _version: None
        """Called likewise, when one has gone out to this participant."""
        self.publishing.published = self._published
        self.event_buffer.put_event(Connected(self.consuming.id))

    def coordinator(self, task: Task | None = None, **settings: Any) -> Coordinator:
        given = {"out": self._folder, "federation": "f", "device": "cpu", "min_participants": 1}
        consuming: Any = self.consuming
        publishing: Any = self.publishing
        administering: Any = self.administering
        return assemble(
            CoordinatorSettings(**(given | settings)),
            task=task or Tiny(),
            channel=CoordinatorChannel(
                FederationNames("f"),
                consuming=consuming,
                publishing=publishing,
                administering=administering,
            ),
            event_buffer=self.event_buffer,
            say=self._say,
            observer=Unobserved(),
            clock=self.clock,
            wall_clock=self._wall_clock,
        )

    def run(self, task: Task | None = None, **settings: Any) -> RunResult:
        return self.coordinator(task, **settings).run()

    def all(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if name == event]

    def deliver(
        self,
        queue: str,
        chunk: Chunk,
        *,
        kind: str | None = None,
        body: bytes | None = None,
        **headers: str | int,
    ) -> int:
        """Put a delivery into the event buffer, perhaps altered, and return its tag."""
        self._tags += 1
        self.event_buffer.put(
            Delivery(
                self.consuming.subscriptions[f"f.{queue}"],
                self._tags,
                redelivered=False,
                kind=kind or chunk.kind,
                message_id=chunk.message_id,
                user_id=LOGIN,
                headers=chunk.headers | headers,
                body=bytes(chunk.body) if body is None else body,
            ),
            patience_seconds=0,
        )
        return self._tags

    def tell(self, event: Message) -> int:
        return self.deliver("events", cut(encode(event))[0])

    def hello(self, *participants: str, instance: str = "i", consuming: bool = False) -> list[int]:
        return [
            self.tell(Hello(participant=each, instance=instance, consuming=consuming))
            for each in participants
        ]

    def update(self, participant: str, version: int, value: float = 0.125) -> int:
        """Deliver a whole update of a version that was published."""
        return self.deliver("results", self.chunks_of(participant, version, value)[0])

    def chunks_of(self, participant: str, version: int, value: float = 0.125) -> list[Chunk]:
        delta = {name: torch.full_like(tensor, value) for name, tensor in GLOBAL.items()}
        update = Update(
            run=self.run_id,
            participant=participant,
            base_version=version,
            base_digest=self.base_digests[version],
            num_examples=1,
        )
        return cut(encode_tensors(update, delta, kinds=dict.fromkeys(delta, "delta")))

    def _say(self, event: Event) -> None:
        self.said.append(named(event))
        self.on_said(event.name)
        if len(self.all("waiting")) > MOST_REMINDERS:  # a test ends, whatever a coordinator does
            self.stop()

    def stop(self) -> None:
        self.event_buffer.put_event(Stop("the test is over"))

    def _published(self, messages: list[Outgoing]) -> None:
        first = messages[0]
        if first.kind != GlobalParameters.KIND:
            return
        header = ChunkHeader.parse(
            kind=first.kind,
            headers=dict(first.headers),
            body_length=len(first.body),
            limits=LIMITS,
        )
        labels = header.whole.labels
        assert labels.version is not None
        assert labels.run is not None
        self.run_id = labels.run
        self.base_digests[labels.version] = header.whole.digest
        if first.exchange == "f.parameters":
            self.on_version(labels.version)
        else:
            for participant in (first.routing_key, *first.others):
                self.on_resent(participant, labels.version)


GLOBAL: dict[str, Tensor] = Tiny().network().state_dict()
