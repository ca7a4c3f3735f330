"""A region's numbers for Prometheus: those of a participant above, and of a coordinator below."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from fanfold.coordinator.metrics import CoordinatorMetrics
from fanfold.participant.metrics import ParticipantMetrics
from fanfold.region.settings import RegionSettings


class RegionMetrics:
    """Both sides on one page.

    Attributes:
        above: sees what the participant does.
        below: sees the rounds.
        registry: of both.
        is_ready: whether it takes part above.
    """

    def __init__(self, settings: RegionSettings, *, version: str) -> None:
        """Begin at zero, as counters do after every start."""
        self.registry = CollectorRegistry()
        self.above = ParticipantMetrics(
            federation=settings.upstream_federation, version=version, registry=self.registry
        )
        self.below = CoordinatorMetrics(
            federation=settings.federation, version=version, registry=self.registry
        )
        self.is_ready: Callable[[], bool] = self._takes_part

    def _takes_part(self) -> bool:
        return self.above.is_ready()  # below there is a coordinator only while a run goes on
