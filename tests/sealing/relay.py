"""A broker whose operator stands in the middle: it sees every message, and does what it likes.

The coordinator lives in one vhost and its participants in another one; a relay carries everything
from here to there, as an operator's shovel would.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pika

from fanfold.coordinator.assembly import serve as serve_coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.names import EVENT_KEY, UPDATE_KEY, FederationNames
from fanfold.sealing.identity import Identity
from fanfold.sealing.roster import changing
from fanfold.views.wall_clock import utc_now
from tests.federation.conftest import Service

NAMES = FederationNames("ward")
EVERYBODY = ""


@dataclass(frozen=True)
class Relayed:
    """One AMQP message on its way."""

    to: str | None
    """A participant, `EVERYBODY`, or None for what goes to the coordinator."""
    key: str
    properties: pika.BasicProperties = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        return str(self.properties.type)

    def with_headers(self, **headers: object) -> "Relayed":
        changed = {**(self.properties.headers or {}), **headers}
        properties = pika.BasicProperties(**{**vars(self.properties), "headers": changed})
        return replace(self, properties=properties)


Rule = Callable[[Relayed], Sequence[Relayed]]


def passing(message: Relayed) -> Sequence[Relayed]:
    """Do nothing to it."""
    return [message]


class Relay:
    """Carries messages in a thread of its own, each through `rule`, and remembers all of them."""

    def __init__(self, hub_url: str, ward_url: str, participants: Sequence[str]) -> None:
        self._urls = (hub_url, ward_url)
        self._participants = participants
        self.rule: Rule = passing
        self.seen: list[Relayed] = []
        self.problem: BaseException | None = None
        self._changed = threading.Condition()
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, name="operator", daemon=True)
        self._thread.start()
        assert self._ready.wait(60), self.problem

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert self.problem is None

    def wait_for(self, kind: str) -> None:
        """Wait until a message of a kind has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(each.kind == kind for each in self.seen), 60)

    def send(self, message: Relayed) -> None:
        """Put a message where it belongs."""
        if message.to is None:
            self._hub.basic_publish(
                NAMES.reports_exchange, message.key, message.body, message.properties
            )
            return
        for each in self._participants if message.to == EVERYBODY else [message.to]:
            queue = NAMES.participant_queue(each)
            self._ward.basic_publish("", queue, message.body, message.properties)

    def _serve(self) -> None:
        try:
            with (
                pika.BlockingConnection(pika.URLParameters(self._urls[0])) as hub,
                pika.BlockingConnection(pika.URLParameters(self._urls[1])) as ward,
            ):
                self._hub, self._ward = hub.channel(), ward.channel()
                self._declare()
                self._ready.set()
                while not self._stop.is_set():
                    hub.process_data_events(0.01)
                    ward.process_data_events(0.01)
        except BaseException as error:
            self.problem = error
            raise

    def _declare(self) -> None:
        for channel in (self._hub, self._ward):
            channel.exchange_declare(NAMES.parameters_exchange, "fanout", durable=True)
            channel.exchange_declare(NAMES.resend_exchange, "direct", durable=True)
            channel.exchange_declare(NAMES.reports_exchange, "direct", durable=True)
        self._hub.queue_declare("down")
        self._hub.queue_bind("down", NAMES.parameters_exchange, "")
        for each in self._participants:
            self._ward.queue_declare(NAMES.participant_queue(each), durable=True)
            self._hub.queue_bind("down", NAMES.resend_exchange, each)
        self._ward.queue_declare("up")
        for key in (UPDATE_KEY, EVENT_KEY):
            self._ward.queue_bind("up", NAMES.reports_exchange, key)
        self._hub.basic_consume("down", self._take_down, auto_ack=True)
        self._ward.basic_consume("up", self._take_up, auto_ack=True)

    def _take_down(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._carry(Relayed(method.routing_key, method.routing_key, properties, body))

    def _take_up(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._carry(Relayed(None, method.routing_key, properties, body))

    def _carry(self, message: Relayed) -> None:
        with self._changed:
            self.seen.append(message)
            self._changed.notify_all()
        for each in self.rule(message):
            self.send(each)


class Ward:
    """One federation of two participants over a relay, sealed or in clear."""

    def __init__(self, node: Any, folder: Path, threads: ThreadPoolExecutor) -> None:
        self._node, self.folder, self._threads = node, folder, threads
        self._vhosts = [f"{folder.name}-{place}"[-60:] for place in ("hub", "ward")]
        self._hub_url, self._ward_url = map(node.create_vhost, self._vhosts)
        self.names = ("p0", "p1")
        for name in ("hub", *self.names):
            Identity.generate().write(folder / name)
        with changing(folder / "hub") as held:
            for name in self.names:
                held[0] = held[0].enroll(name, Identity.read(folder / name).public)
        self.relay = Relay(self._hub_url, self._ward_url, self.names)
        self.services: list[Service] = []

    def coordinator(self, task: str, *, sealed: bool = True, **options: Any) -> Service:
        given = {
            "federation": "ward",
            "broker": (self._hub_url,),
            "device": "cpu",
            "out": self.folder / "out",
            "task": task,
            "lr": 0.1,
            "identity": self.folder / "hub" if sealed else None,
            "min_participants": 2,
            "deadline_seconds": 2.0,
            "quorum": 2,
        }
        settings = CoordinatorSettings(**(given | options))
        return self._started(partial(serve_coordinator, wall_clock=utc_now), settings)

    def participant(self, task: str, index: int, *, sealed: bool = True, **options: Any) -> Service:
        name = self.names[index]
        given = {
            "federation": "ward",
            "broker": (self._ward_url,),
            "device": "cpu",
            "id": name,
            "task": task,
            "partition_index": index,
            "num_partitions": 2,
            "progress_seconds": 0.1,
            "identity": self.folder / name if sealed else None,
            "coordinator_identity": str(self.folder / "hub") if sealed else None,
        }
        settings = ParticipantSettings(**(given | options))
        return self._started(partial(serve_participant, wall_clock=utc_now), settings)

    def run(self, task: str, *, sealed: bool = True, **options: Any) -> Service:
        """Run to the end; return the coordinator."""
        hub = self.coordinator(task, sealed=sealed, **options)
        for index in range(2):
            self.participant(task, index, sealed=sealed)
        hub.result.result(90)
        return hub

    def _started(self, serve: Callable[..., Any], settings: Any) -> Service:
        self.services.append(Service(serve, settings, self._threads))
        return self.services[-1]

    def close(self) -> None:
        for service in self.services:
            service.stop("the test is over")
        for service in self.services:
            service.result.exception(60)
        self.relay.close()
        for vhost in self._vhosts:
            self._node.delete_vhost(vhost)
