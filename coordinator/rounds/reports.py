"""What the coordinator tells people.

One event per closed round, in order, once its evaluation is in.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fanfold.coordinator.aggregation.metric_means import finite

Say = Callable[[str, dict[str, Any]], None]
"""Takes the name of an event and its fields."""


@dataclass(slots=True)
class _Closed:
    record: dict[str, Any]
    awaits_evaluation: bool


@dataclass(slots=True)
class RoundReports:
    """Holds a closed round back until it is committed and its loss and accuracy are known."""

    tell: Callable[[dict[str, Any]], None]
    last: Mapping[str, Any] = field(default_factory=dict)
    """The last record that was told."""
    _waiting: list[_Closed] = field(default_factory=list)

    def closed(self, record: dict[str, Any], *, awaits_evaluation: bool) -> None:
        """Take the record of a round that was closed; `tell_ready` tells it once that is due."""
        self._waiting.append(_Closed(record, awaits_evaluation))

    def evaluated(self, version: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a version."""
        for closed in self._waiting:
            if closed.record["version"] == version:
                known = finite(metrics)
                closed.record |= {
                    **loss_and_accuracy(metrics),
                    "metrics": known,
                    "not_finite": sorted(metrics.keys() - known.keys()),
                }
                closed.awaits_evaluation = False

    def tell_ready(self) -> None:
        """Tell what is due; the rounds keep their order."""
        while self._waiting and not self._waiting[0].awaits_evaluation:
            self.tell(dict(self._waiting[0].record))
            self.last = self._waiting.pop(0).record

    def state(self) -> dict[str, Any]:
        """Return everything for the checkpoint."""
        return {"last": dict(self.last), "waiting": [asdict(closed) for closed in self._waiting]}

    def restore(self, state: Mapping[str, Any], *, version: int) -> bool:
        """Take back what `state` returned; only the current version can still be evaluated.

        Return whether that is awaited.
        """
        self.last = state["last"]
        for closed in state["waiting"]:
            awaited = closed["awaits_evaluation"] and closed["record"]["version"] == version
            self.closed(closed["record"], awaits_evaluation=awaited)
        return any(closed.awaits_evaluation for closed in self._waiting)


def loss_and_accuracy(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return what a round's record says of its metrics: null where there is no finite number."""
    known = finite(metrics)
    return {"loss": known.get("loss"), "accuracy": known.get("accuracy")}
