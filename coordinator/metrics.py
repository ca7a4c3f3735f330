"""The coordinator's numbers for Prometheus; docs/operations.md says what they are good for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from fanfold.coordinator.aggregation.contribution import Contribution
from fanfold.coordinator.observer import Members, Phase, Unobserved
from fanfold.schemas.events.coordinator import RoundClosed, RunResumed, RunStarted
from fanfold.schemas.events.event import Event

PHASE_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)
ROUND_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 3600, 6 * 3600)
STALENESS = (0, 1, 2, 3, 5, 8, 13, 20)


class CoordinatorMetrics(Unobserved):
    """An observer that counts. Scrapes read from another thread, which the client allows for."""

    def __init__(
        self, *, federation: str, version: str, registry: CollectorRegistry | None = None
    ) -> None:
        """Begin at zero, as a counter does after every start; in a registry that others share."""
        self.registry = registry or CollectorRegistry()
        self.is_ready: Callable[[], bool] = lambda: False

        def of(kind: type[Any], name: str, text: str, *labels: str, **more: Any) -> Any:
            return kind(f"fanfold_coordinator_{name}", text, labels, registry=self.registry, **more)

        of(Info, "build", "Which program this is.").info(
            {"federation": federation, "version": version}
        )
        self._ready = of(Gauge, "ready", "1 while connected, holding the lock and receiving.")
        self._present = of(Gauge, "participants_present", "Participants that are present.")
        self._rounds = of(Counter, "rounds", "Rounds closed.")
        self._version = of(Gauge, "version", "Number of the current version.")
        self._updates = of(
            Counter, "updates", "Updates by outcome; a refusal has a reason.", "outcome", "reason"
        )
        self._single_updates = of(
            Counter,
            "single_updates",
            "Updates of participants that count, those in the sums of regions among them.",
        )
        self._staleness = of(
            Histogram, "update_staleness", "Staleness of folded updates.", buckets=STALENESS
        )
        self._bytes = of(
            Counter,
            "bytes",
            "Bytes of messages in closed rounds: down to the broker's queues, up from them.",
            "direction",
        )
        self._phases = of(
            Histogram,
            "phase_seconds",
            "Seconds of one step of a part of the work.",
            "phase",
            buckets=PHASE_SECONDS,
        )
        self._round_seconds = of(
            Histogram, "round_seconds", "Seconds of a whole round.", buckets=ROUND_SECONDS
        )
        self._loss = of(Gauge, "loss", "Loss of the newest evaluated version.")
        self._loss_not_finite = of(
            Gauge,
            "loss_not_finite",
            "1 if the newest evaluated version's loss is no finite number.",
        )
        self._accuracy = of(Gauge, "accuracy", "Accuracy of the newest evaluated version.")
        self._folded = self._updates.labels("folded", "")  # a rate needs a first value
        self._down, self._up = self._bytes.labels("down"), self._bytes.labels("up")

    def attach(
        self, *, present: Callable[[], int], members: Members, is_ready: Callable[[], bool]
    ) -> None:
        """Ask at every scrape."""
        del members
        self.is_ready = is_ready
        self._present.set_function(lambda: float(present()))
        self._ready.set_function(lambda: float(is_ready()))

    def hear(self, event: Event) -> None:
        """Take the numbers of a closed round, and the version that a run goes on from."""
        match event:
            case RunStarted() | RunResumed():
                self._version.set(event.version)
            case RoundClosed():
                self._rounds.inc()
                self._version.set(event.version)
                self._round_seconds.observe(event.seconds)
                self._down.inc(event.bytes_down)
                self._up.inc(event.bytes_up)
                for gauge, value in ((self._loss, event.loss), (self._accuracy, event.accuracy)):
                    if value is not None:
                        gauge.set(value)
                if event.not_finite is not None:  # evaluated in this round
                    self._loss_not_finite.set(float("loss" in event.not_finite))

    def phase(self, name: Phase) -> AbstractContextManager[None]:
        """Measure the seconds of a part of the work, whether or not it succeeds."""
        timer: AbstractContextManager[None] = self._phases.labels(name).time()
        return timer

    def folded(self, contribution: Contribution) -> None:
        """Count an update that went into the sum."""
        self._folded.inc()
        self._single_updates.inc(contribution.updates or 1)
        self._staleness.observe(contribution.staleness)

    def refused(self, reason: str) -> None:
        """Count an update that did not."""
        self._updates.labels("refused", reason).inc()
