"""An update in fixed point, as a run asks for it: deltas of all parameters, as integers."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from fanfold.learning import secure_discrete_gaussian
from fanfold.participant.trainer import TrainedUpdate
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.fixed_point import EXAMPLES, fixed_deltas
from fanfold.schemas.messages import FixedPlan
from fanfold.schemas.tensor_table import Kind


def fixed_update(
    trained: TrainedUpdate, plan: FixedPlan, *, base: Mapping[str, Tensor]
) -> TrainedUpdate:
    """Return an update clipped, weighed and in fixed point, with noise where the plan has some.

    Call it once for each version: noise drawn twice would reveal more about the same data.

    Args:
        trained: the result of local training.
        plan: the run's.
        base: the tensors of the version.

    Raises:
        InvalidInputError: if integers cannot carry it.
    """
    deltas = all_deltas(trained, base, run="a run with --encoding fixed")
    integers = fixed_deltas(deltas, plan, num_examples=trained.num_examples)
    if plan.noise:
        integers = {name: _noisy(each, plan) for name, each in integers.items()}
    kinds: dict[str, Kind] = {name: "value" if name == EXAMPLES else "delta" for name in integers}
    return replace(trained, tensors=integers, kinds=kinds)


def _noisy(integers: Tensor, plan: FixedPlan) -> Tensor:
    noise = secure_discrete_gaussian(integers.numel(), plan.noise).reshape(integers.shape)
    return noise.add_(integers).clamp_(-plan.largest, plan.largest).to(integers.dtype)


def all_deltas(
    trained: TrainedUpdate, base: Mapping[str, Tensor], *, run: str
) -> dict[str, Tensor]:
    """Return the deltas of an update, which must be those of all floating tensors of the version.

    They stand in the version's order.

    Args:
        trained: the result of local training.
        base: the tensors of the version.
        run: what asks for them, for people.

    Raises:
        InvalidInputError: if some do not train.
    """
    floating = {name for name, tensor in base.items() if tensor.is_floating_point()}
    deltas = {
        name: trained.tensors[name] for name, kind in trained.kinds.items() if kind == "delta"
    }
    if deltas.keys() != floating:
        raise InvalidInputError(
            f"{run} takes the deltas of all shared tensors; this task has frozen layers or "
            f"floating buffers ({', '.join(sorted(floating - deltas.keys())[:3])}); keep them out "
            "with `shared`"
        )
    return {name: deltas[name] for name in base if name in deltas}
