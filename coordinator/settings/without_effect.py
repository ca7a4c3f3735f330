"""Settings that were given and have no effect together with the others.

They are no errors, and the run goes on; but the operator expects an effect, so each is reported.
"""

from collections.abc import Mapping

from pydantic import BaseModel

from fanfold.coordinator.settings.round_settings import RoundSettings

NEED_EVALUATIONS = ("metric", "patience", "until", "until_accuracy", "evaluate_every")
PRIVACY_SETTINGS = ("dp_at", "dp_delta", "dp_divisor", "dp_max_epsilon")


def without_effect(settings: RoundSettings, *, can_evaluate: bool) -> dict[str, str]:
    """Return the options that have no effect, each with why.

    Args:
        settings: those of a coordinator or of a simulation; default values are not reported.
        can_evaluate: whether the coordinator has held-out data to evaluate versions on.

    Example:
        >>> without_effect(RoundSettings(steps=5, epochs=2), can_evaluate=True)
        {'--epochs': '--steps is used instead'}
    """
    policy = settings.policy
    found = {}
    if policy.max_staleness == 0:
        found["staleness"] = "no stale update is counted; add --max-staleness or another --mode"
    if settings.mode == "exact":
        found["staleness"] = "--mode exact weighs no model by its staleness"
    if isinstance(policy.goal, int) and policy.goal < policy.quorum:
        found["goal"] = f"no round closes with less than --quorum {policy.quorum}"
    if settings.steps is not None:
        found["epochs"] = "--steps is used instead"
    if settings.optimizer.lower() != "sgd":
        found["momentum"] = f"the optimizer {settings.optimizer} takes none"
    if settings.fixed is None:
        found["clip"] = "updates are integers only with --encoding fixed"
    elif policy.max_staleness > 0:
        found["staleness"] = "sums of integers weigh all updates the same"
    if not can_evaluate:
        reason = "the task has no held-out data for the coordinator, or tensors that stay private"
        found |= dict.fromkeys(NEED_EVALUATIONS, reason)
    if getattr(settings, "dp_clip", None) is None:
        found |= dict.fromkeys(PRIVACY_SETTINGS, "differential privacy needs --dp-clip")
    return chosen(settings, found)


def chosen(settings: BaseModel, reasons: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons under the names of options, of those settings that are no default."""
    return {
        f"--{name.replace('_', '-')}": reason
        for name, reason in reasons.items()
        if _is_chosen(settings, name)
    }


def _is_chosen(settings: BaseModel, name: str) -> bool:
    field = type(settings).model_fields.get(name)
    return field is not None and getattr(settings, name) != field.default
