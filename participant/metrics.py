"""A participant's numbers for Prometheus; docs/operations.md says what they are good for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from fanfold.participant.observer import Phase
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.participant import OwnUpdateRefused, UpdateSent, VersionReceived

PHASE_SECONDS = (0.001, 0.01, 0.1, 0.5, 2, 10, 60, 300, 1800, 3 * 3600, 12 * 3600)


class ParticipantMetrics:
    """An observer that counts. Scrapes read from another thread, which the client allows for."""

    def __init__(
        self, *, federation: str, version: str, registry: CollectorRegistry | None = None
    ) -> None:
        """Begin at zero, as a counter does after every start; in a registry that others share."""
        self.registry = registry or CollectorRegistry()
        self.is_ready: Callable[[], bool] = lambda: False
        self._federation = federation
        self._program = version

        def of(kind: type[Any], name: str, text: str, *labels: str, **more: Any) -> Any:
            return kind(f"fanfold_participant_{name}", text, labels, registry=self.registry, **more)

        self._build = of(Info, "build", "Which program this is, and who runs it.")
        self._ready = of(Gauge, "ready", "1 while connected and subscribed.")
        self._version = of(Gauge, "version", "Number of the newest version received.")
        self._examples = of(Gauge, "examples", "Private examples that it trains on.")
        # By label, of which there are a handful: the client looks each one up under a lock.
        self._updates: Callable[[str], Counter] = cache(
            of(
                Counter, "updates", "Updates sent, and refused by the coordinator.", "outcome"
            ).labels
        )
        self._bytes: Callable[[str], Counter] = cache(
            of(
                Counter, "bytes", "Bytes of messages: versions down, updates up.", "direction"
            ).labels
        )
        self._phases: Callable[[str], Histogram] = cache(
            of(
                Histogram,
                "phase_seconds",
                "Seconds of a part of the work on one version.",
                "phase",
                buckets=PHASE_SECONDS,
            ).labels
        )
        self._loss = of(Gauge, "loss", "Mean training loss of the last update's last pass.")
        for outcome in ("sent", "refused"):  # there from the start: a rate needs a first value
            self._updates(outcome)
        for direction in ("down", "up"):
            self._bytes(direction)

    def attach(self, *, device: str, num_examples: int, is_ready: Callable[[], bool]) -> None:
        """Ask at every scrape."""
        self.is_ready = is_ready
        self._ready.set_function(lambda: float(is_ready()))
        self._examples.set(num_examples)
        self._build.info(
            {"federation": self._federation, "version": self._program, "device": device}
        )

    def hear(self, event: Event) -> None:
        """Take the numbers of a version that came and of an update that went."""
        match event:
            case VersionReceived():
                self._version.set(event.version)
                self._bytes("down").inc(event.bytes)
                self._phases("download").observe(event.seconds)
            case UpdateSent():
                self._updates("sent").inc()
                self._bytes("up").inc(event.bytes)
                if event.loss is not None:
                    self._loss.set(event.loss)
            case OwnUpdateRefused():
                self._updates("refused").inc()

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Measure the seconds of a part of the work, whether or not it succeeds."""
        began = perf_counter()
        try:
            yield
        finally:
            self._phases(name).observe(perf_counter() - began)
