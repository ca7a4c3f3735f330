"""From settings to what they name."""

from collections.abc import Callable

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.aggregator import Aggregator, ByCoordinate, ByDistance, Folding
from fanfold.coordinator.aggregation.clipping import FlTrust
from fanfold.coordinator.aggregation.exact_round import ExactRound
from fanfold.coordinator.aggregation.fixed_round import FixedRound
from fanfold.coordinator.aggregation.mixing import parse_mixing
from fanfold.coordinator.aggregation.registry import parse_aggregator
from fanfold.coordinator.aggregation.root_update import RootUpdate
from fanfold.coordinator.aggregation.round_aggregation import (
    FoldingRound,
    GatheringRound,
    RoundAggregation,
)
from fanfold.coordinator.aggregation.tensor_store import MemoryStore, TensorStore
from fanfold.schemas.errors import InvalidInputError


def make_aggregation(
    settings: AggregationSettings,
    store: TensorStore | None = None,
    *,
    root: Callable[[], RootUpdate] | None = None,
) -> RoundAggregation:
    """Return what settings name.

    Args:
        settings: what a round makes of its updates.
        store: keeps what must be kept whole; in memory by default.
        root: brings what trains trusted data, for the rule that asks for it.

    Raises:
        InvalidInputError: if there is no such rule, or nothing to trust.
    """
    store = store or MemoryStore()
    if settings.fixed is not None:
        return FixedRound(settings.fixed)
    if settings.is_exact:
        return ExactRound(max_staleness=settings.max_staleness, store=store)
    rule = parse_aggregator(settings.aggregator)
    if isinstance(rule, Folding):
        momentum = settings.momentum if settings.normalize_steps else None
        if not isinstance(rule, FlTrust):
            return FoldingRound(rule, spec=settings.spec, momentum=momentum)
        if root is None:
            raise InvalidInputError("--aggregator fltrust has no data here to trust")
        return FoldingRound(rule, spec=settings.spec, root=root())
    mixing = parse_mixing(settings.buckets, settings.mixing)
    assert isinstance(rule, (ByCoordinate, ByDistance))  # there are three kinds
    return GatheringRound(rule, spec=settings.spec, mixing=mixing, seed=settings.seed, store=store)


def check_aggregation(
    settings: AggregationSettings,
    *,
    quorum: int,
    staleness: str,
    is_private: bool,
    encoding: str,
    optimizer: str,
    proximal_mu: float,
) -> None:
    """Refuse what cannot go together.

    Args:
        settings: what a round makes of its updates.
        quorum: the fewest updates that a round may close with.
        staleness: the weight of stale updates, as its setting says; `constant` where none is
            counted.
        is_private: whether the run is differentially private.
        encoding: of updates on their way up.
        optimizer: the local one.
        proximal_mu: of the local training.

    Raises:
        InvalidInputError: with what to change.
    """
    rule = parse_aggregator(settings.aggregator)
    mixing = parse_mixing(settings.buckets, settings.mixing)
    option = f"--aggregator {settings.aggregator}"
    is_mean = settings.aggregator == "mean"
    if is_private and (settings.is_exact or settings.normalize_steps or not is_mean):
        found = "--mode exact" if settings.is_exact else option
        found = "--normalize-steps" if settings.normalize_steps else found
        raise InvalidInputError(
            f"{found} does not go with --dp-clip: the noise of a private run is counted for a sum "
            "of clipped updates of weight 1; leave one of them out"
        )
    if settings.is_exact:
        _check_exact(option, encoding, is_mean=is_mean, normalizes=settings.normalize_steps)
    if settings.normalize_steps and not is_mean:
        raise InvalidInputError(
            f"--normalize-steps believes what each update says of its steps, and {option} is there "
            "for updates that are not to be believed; leave one of them out"
        )
    if settings.normalize_steps and (optimizer.lower() != "sgd" or proximal_mu):
        found = "--proximal-mu" if proximal_mu else f"--optimizer {optimizer}"
        raise InvalidInputError(
            f"--normalize-steps knows what steps of SGD are worth, and not those of {found}; leave "
            "one of them out"
        )
    if mixing.is_needed and isinstance(rule, Folding):
        raise InvalidInputError(
            f"--buckets and --mixing come before a rule that looks at all updates of a round, and "
            f"{option} takes one at a time; choose for example --aggregator median"
        )
    _check_weights(rule, option, staleness)
    least = mixing.num_updates(rule.least_updates)
    if quorum < least:
        raise InvalidInputError(
            f"{option} takes {least} updates or more in each round, and --quorum lets one close "
            f"with {quorum}; set --quorum {least} or more"
        )


def _check_exact(option: str, encoding: str, *, is_mean: bool, normalizes: bool) -> None:
    if not is_mean or normalizes:
        raise InvalidInputError(
            f"--mode exact is a rule of its own, the mean of everybody's latest model; leave "
            f"{'--normalize-steps' if is_mean else option} out, or choose another mode"
        )
    if encoding.startswith("topk"):
        raise InvalidInputError(
            f"--mode exact takes whole local models, and --encoding {encoding} leaves values out; "
            "choose float32, float16, bfloat16 or int8"
        )


def _check_weights(rule: Aggregator, option: str, staleness: str) -> None:
    if staleness != "constant" and not rule.has_weights:
        raise InvalidInputError(
            f"{option} counts everybody in a round alike, so that --staleness {staleness} "
            "can weigh none; set --staleness constant, or choose a rule with weights: mean, clip, "
            "centered-clipping, multi-krum, geometric-median or fltrust"
        )
