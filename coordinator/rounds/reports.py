"""What the coordinator tells people.

One event per closed round, in order, once its evaluation is in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from fanfold.coordinator.aggregation.contribution import Contribution, shares_of, single_updates_of
from fanfold.coordinator.aggregation.metric_means import finite, weighted_means
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.schemas.events.coordinator import RoundClosed

PARTICIPANTS = "participants"
"""Who measured, where the coordinator has no data of its own."""


@dataclass(slots=True)
class _Closed:
    event: RoundClosed
    awaits_evaluation: bool
    is_committed: bool = False


@dataclass(slots=True)
class RoundReports:
    """Holds a closed round back until it is committed and its loss and accuracy are known."""

    last: RoundClosed | None = None
    """The last one that was told."""
    _waiting: list[_Closed] = field(default_factory=list)

    def closed(self, event: RoundClosed, *, awaits_evaluation: bool) -> None:
        """Take a round that was closed; `take_ready` returns it once that is due."""
        self._waiting.append(_Closed(event, awaits_evaluation))

    def evaluated(self, version: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a version."""
        for closed in self._waiting:
            if closed.event.version == version:
                known = finite(metrics)
                closed.event = replace(
                    closed.event,
                    loss=known.get("loss"),
                    accuracy=known.get("accuracy"),
                    metrics=known,
                    not_finite=tuple(sorted(metrics.keys() - known.keys())),
                )
                closed.awaits_evaluation = False

    def committed(self) -> None:
        """Take note that all rounds so far are in the checkpoint."""
        for closed in self._waiting:
            closed.is_committed = True

    def take_ready(self) -> list[RoundClosed]:
        """Return what is to be told now, and count it as told; the rounds keep their order."""
        ready = list(
            takewhile(lambda each: each.is_committed and not each.awaits_evaluation, self._waiting)
        )
        if ready:
            self.last = ready[-1].event
        self._waiting = self._waiting[len(ready) :]
        return [each.event for each in ready]

    def state(self) -> dict[str, Any]:
        """Return everything for the checkpoint."""
        return {
            "last": {} if self.last is None else _record(self.last),
            "waiting": [
                {"record": _record(closed.event), "awaits_evaluation": closed.awaits_evaluation}
                for closed in self._waiting
            ],
        }

    def restore(self, state: Mapping[str, Any], *, version: int) -> bool:
        """Take back what `state` returned; only the current version can still be evaluated.

        Return whether that is awaited.
        """
        self.last = RoundClosed(**state["last"]) if state["last"] else None
        for closed in state["waiting"]:
            event = RoundClosed(**closed["record"])
            awaited = closed["awaits_evaluation"] and event.version == version
            self.closed(event, awaits_evaluation=awaited)
        self.committed()
        return any(closed.awaits_evaluation for closed in self._waiting)


def _record(event: RoundClosed) -> dict[str, Any]:
    record = event.document(whole=True)
    del record["event"]
    return record


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
        "updates": [contribution.document() for contribution in contributions],
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
    left_out: Mapping[str, str],
) -> RoundClosed:
    """Return what people are told of a round; its evaluation comes later.

    `with_reported_metrics` takes the means of what participants measured, for a run that has no
    data of its own to evaluate on. `left_out` says who was refused, and why.
    """
    reported = (
        [(each.num_examples, each.metrics) for each in contributions]
        if with_reported_metrics
        else []
    )
    means = finite(weighted_means(reported))
    return RoundClosed(
        round=number,
        version=run.version,
        updates=len(contributions),
        examples=sum(contribution.num_examples for contribution in contributions),
        loss=means.get("loss"),
        accuracy=means.get("accuracy"),
        bytes_down=traffic.bytes_down,
        bytes_up=traffic.bytes_up,
        seconds=round(seconds, 6),
        shares=shares_of(contributions),
        epsilon_zero_out=_largest(privacy.get("epsilon_zero_out")),
        epsilon_replace_one=_largest(privacy.get("epsilon_replace_one")),
        delta=privacy.get("delta"),
        left_out=left_out or None,
        metrics=means if with_reported_metrics else None,
        measured_by=PARTICIPANTS if means else None,
        single_updates=single_updates_of(contributions),
    )


def _largest(spent: Mapping[str, float] | None) -> float | None:
    return None if spent is None else max(spent.values(), default=0.0)


def privacy_of(run: RunState) -> dict[str, Any]:
    """Return each epsilon by participant, and delta; nothing for a run that is not private."""
    if run.privacy is None:
        return {}
    return {**run.privacy.spent(run.privacy_ledger.counts), "delta": run.privacy.delta}
