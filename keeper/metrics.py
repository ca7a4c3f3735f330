"""The numbers of a keeper, as Prometheus metrics."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.001, 0.01, 0.1, 0.5, 2, 10, 60, 300)


class KeeperMetrics:
    """Counts for Prometheus; docs/operations.md says what the numbers are good for."""

    def __init__(self, *, federation: str, version: str) -> None:
        """Begin at zero, as a counter does after every start."""
        self.registry = CollectorRegistry()
        self.is_ready: Callable[[], bool] = lambda: False

        def of(kind: type[Any], name: str, text: str, *labels: str, **more: Any) -> Any:
            return kind(f"fanfold_keeper_{name}", text, labels, registry=self.registry, **more)

        of(Info, "build", "Which program this is.").info(
            {"federation": federation, "version": version}
        )
        self._ready = of(Gauge, "ready", "1 while connected and subscribed.")
        self._answers = of(
            Counter, "answers", "Sets approved, sums of masks told, requests refused.", "kind"
        )
        self._seconds = of(
            Histogram, "answer_seconds", "Seconds that an answer takes.", buckets=SECONDS
        )
        for kind in ("SetApproved", "Masks", "MasksRefused"):
            self._answers.labels(kind)

    def attach(self, *, is_ready: Callable[[], bool]) -> None:
        """Ask at every scrape."""
        self.is_ready = is_ready
        self._ready.set_function(lambda: float(is_ready()))

    def answered(self, kind: str, seconds: float) -> None:
        """Count an answer."""
        self._answers.labels(kind).inc()
        self._seconds.observe(seconds)
