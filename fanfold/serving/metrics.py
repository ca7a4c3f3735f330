"""The service's numbers for Prometheus; those of each run are its coordinator's."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, Info


class ServiceMetrics:
    """Whether the service is there, and ready."""

    def __init__(self, *, federation: str, version: str) -> None:
        """Begin unready."""
        self.registry = CollectorRegistry()
        self.is_ready: Callable[[], bool] = lambda: False
        Info("fanfold_service_build", "Which program this is.", registry=self.registry).info(
            {"federation": federation, "version": version}
        )
        self._ready = Gauge(
            "fanfold_service_ready",
            "1 while connected, holding the lock and receiving.",
            registry=self.registry,
        )

    def attach(self, is_ready: Callable[[], bool]) -> None:
        """Ask at every scrape."""
        self.is_ready = is_ready
        self._ready.set_function(lambda: float(is_ready()))
