"""An update of some megabytes that is sent slowly, and a tap that sees each chunk of it."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fanfold.learning import TrainingPlan
from fanfold.schemas.names import UPDATE_KEY, FederationNames
from fanfold.transport import Connection, Delivery, EventBuffer
from tests.federation.tiny_tasks import Tiny

PATIENCE_SECONDS = 90
NUM_VALUES = int(os.environ.get("FANFOLD_TEST_VALUES", "1500000"))


class Large(Tiny):
    """6 MB of parameters, each of which training changes, by what no two chunks have alike."""

    def network(self) -> nn.Module:
        network = super().network()
        network.register_parameter("more", nn.Parameter(torch.zeros(NUM_VALUES)))
        return network

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        history = super().fit(network, data, plan)
        steps = torch.randn(NUM_VALUES, generator=torch.Generator().manual_seed(plan.seed))
        with torch.no_grad():
            network.get_parameter("more").add_(steps)
        return history


@dataclass(frozen=True)
class Seen:
    """A chunk that the broker took."""

    digest: str
    index: int
    num_bytes: int
    at: float
    """Seconds of a monotonic clock."""


class Tap:
    """Reads a copy of each chunk of an update."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._changed = threading.Condition()

    def read(self, events: EventBuffer, connection: Connection, closed: threading.Event) -> None:
        while not closed.is_set():
            event = events.get(0.1)
            if isinstance(event, Delivery):
                headers: Any = event.headers
                seen = Seen(headers["digest"], headers["chunk"], len(event.body), time.monotonic())
                connection.acknowledge(event)
                with self._changed:
                    self.seen.append(seen)
                    self._changed.notify_all()

    def wait_for(self, num_chunks: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= num_chunks, PATIENCE_SECONDS), (
                len(self.seen)
            )

    @property
    def bytes_once(self) -> int:
        """Bytes of different chunks."""
        return sum({(each.digest, each.index): each.num_bytes for each in self.seen}.values())

    @property
    def bytes_twice(self) -> int:
        """Bytes of chunks that came before."""
        return sum(each.num_bytes for each in self.seen) - self.bytes_once


@contextmanager
def tapped(url: str, federation: str) -> Iterator[Tap]:
    """Tap the updates of a federation, from before its coordinator is there."""
    tap, events, closed = Tap(), EventBuffer(), threading.Event()
    exchange = FederationNames(federation).reports_exchange
    with Connection([url], name="tap", event_buffer=events) as connection:
        connection.wait_connected(PATIENCE_SECONDS)
        connection.declare_exchange(exchange, "direct")
        connection.declare_queue("tap", exclusive=True, bindings=[(exchange, UPDATE_KEY)])
        connection.subscribe("tap", prefetch=100)
        reading = threading.Thread(target=tap.read, args=(events, connection, closed))
        reading.start()
        try:
            yield tap
        finally:
            closed.set()
            reading.join()
