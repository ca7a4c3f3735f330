"""A participant's numbers for Prometheus; docs/operations.md says what they are good for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
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
        updates = of(Counter, "updates", "Updates sent, and refused by the coordinator.", "outcome")
        num_bytes = of(
            Counter, "bytes", "Bytes of messages: versions down, updates up.", "direction"
        )
        self._phases = of(
            Histogram,
            "phase_seconds",
            "Seconds of a part of the work on one version.",
            "phase",
            buckets=PHASE_SECONDS,
        )
        self._loss = of(Gauge, "loss", "Mean training loss of the last update's last pass.")
        # There from the start: a rate needs a first value.
        self._sent, self._refused = updates.labels("sent"), updates.labels("refused")
        self._down, self._up = num_bytes.labels("down"), num_bytes.labels("up")

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
                self._down.inc(event.bytes)
                self._phases.labels("download").observe(event.seconds)
            case UpdateSent():
                self._sent.inc()
                self._up.inc(event.bytes)
                if event.loss is not None:
                    self._loss.set(event.loss)
            case OwnUpdateRefused():
                self._refused.inc()

    def phase(self, name: Phase) -> AbstractContextManager[None]:
        """Measure the seconds of a part of the work, whether or not it succeeds."""
        timer: AbstractContextManager[None] = self._phases.labels(name).time()
        return timer
