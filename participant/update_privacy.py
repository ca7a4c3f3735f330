"""Differential privacy of a whole run, on the participant: clipping an update, adding noise."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from fanfold.learning import clip_factor, joint_norm, secure_normal
from fanfold.participant.fixed_update import all_deltas
from fanfold.participant.trainer import TrainedUpdate
from fanfold.schemas.encodings import Encoding
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import PrivacyPlan


def private_update(
    trained: TrainedUpdate,
    plan: PrivacyPlan,
    *,
    base: Mapping[str, Tensor],
    encoding: str,
    is_kept: bool,
) -> TrainedUpdate:
    """Return an update with deltas alone, clipped, and with noise if participants add it.

    Where `at` is `sum`, `fixed_update` clips it and adds the noise, in integers.

    Every update counts as one example, and has no metrics of private data. Call it once for each
    version: noise drawn twice would reveal more about the same data.

    Args:
        trained: the result of local training.
        plan: the rules of the coordinator.
        base: the tensors of the version.
        encoding: the encoding of updates.
        is_kept: whether the update is kept in a state folder.

    Raises:
        InvalidInputError: if such an update cannot be private.
    """
    deltas = all_deltas(trained, base, run="a private run")
    if Encoding.from_setting(encoding).fraction is not None:
        raise InvalidInputError(
            "a private run does not go with top-k, whose choice of values tells"
        )
    if plan.at != "coordinator" and not is_kept:
        raise InvalidInputError(
            "noise must never be drawn twice for the same version, so the noisy update has to "
            "outlive a restart; name a folder with --state-dir"
        )
    if plan.at == "participant":
        factor = clip_factor(joint_norm(deltas), plan.clip)
        deltas = {
            name: (delta.double() * factor + secure_normal(delta.shape, plan.noise * plan.clip)).to(
                delta.dtype
            )
            for name, delta in deltas.items()
        }
    return replace(
        trained,
        tensors=deltas,
        kinds=dict.fromkeys(deltas, "delta"),
        num_examples=1,
        metrics={},
        seconds=0.0,
    )
