"""What the coordinator tells people.

One event per closed round, in order, once its evaluation is in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fanfold.coordinator.aggregation.contribution import Contribution, told_of
from fanfold.coordinator.aggregation.metric_means import finite, weighted_means
from fanfold.coordinator.aggregation.run_state import RunState

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


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came and went while a round was open."""

    bytes_down: int
    bytes_up: int
    refused: Mapping[str, int]
    """Refusals by reason."""


def history_of(
    number: int,
    contributions: Sequence[Contribution],
    run: RunState,
    *,
    refused: Mapping[str, int],
    privacy: Mapping[str, Any],
    epoch: int,
) -> dict[str, Any]:
    """Return the history's record of a round: what it was made of.

    `refused` counts by reason; `privacy` is what `privacy_of` returned.
    """
    return {
        "event": "round",
        "run": run.run_id,
        "epoch": epoch,
        "round": number,
        "updates": [asdict(contribution) for contribution in contributions],
        "refused": dict(refused),
        **privacy,
    }


def report_of(
    number: int,
    contributions: Sequence[Contribution],
    run: RunState,
    traffic: Traffic,
    *,
    privacy: Mapping[str, Any],
    seconds: float,
    with_reported_metrics: bool,
) -> dict[str, Any]:
    """Return what people are told of a round; its evaluation comes later.

    `with_reported_metrics` takes the means of what participants measured, for a run that has no
    data of its own to evaluate on.
    """
    reported = (
        [(each.num_examples, each.metrics) for each in contributions]
        if with_reported_metrics
        else []
    )
    return {
        "round": number,
        "version": run.version,
        "updates": len(contributions),
        "examples": sum(contribution.num_examples for contribution in contributions),
        **loss_and_accuracy(weighted_means(reported)),
        "seconds": round(seconds, 6),
        "bytes_down": traffic.bytes_down,
        "bytes_up": traffic.bytes_up,
        **told_of(contributions),
        **{
            name: max(each.values(), default=0.0) if isinstance(each, Mapping) else each
            for name, each in privacy.items()
        },
    }


def privacy_of(run: RunState) -> dict[str, Any]:
    """Return each epsilon by participant, and delta; nothing for a run that is not private."""
    if run.privacy is None:
        return {}
    return {**run.privacy.spent(run.privacy_ledger.counts), "delta": run.privacy.delta}
