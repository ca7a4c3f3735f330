"""A round in fixed point: the sum of integers is the same whatever the order of arrival.

`schemas/fixed_point.py` has the arithmetic. The sum is in the checkpoint as the integers it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.fixed_settings import num_updates
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.round_aggregation import Accepted, Parts
from fanfold.coordinator.aggregation.running_sum import DELTA, VALUE, RunningSum
from fanfold.schemas.fixed_point import EXAMPLES, add_fixed, from_fixed
from fanfold.schemas.messages import FixedPlan, Update


@dataclass(frozen=True, slots=True)
class FixedChecks:
    """Holds updates against one version of the model, as `TensorChecks` does."""

    shapes: Mapping[str, torch.Size]
    """Of all rows, by name."""
    largest: int | None
    """None where masks hide how large integers are."""
    most_examples: int

    def inspect(
        self,
        update: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        *,
        updates: int = 1,
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> Refusal | None:
        """Say why an update's tensors cannot be added; None means they can."""
        del dtypes  # no narrow ones come here
        if update.keys() != self.shapes.keys():
            other = min(update.keys() ^ self.shapes.keys())
            return Refusal(
                Reason.INCOMPATIBLE, f"fixed point takes the deltas of all parameters: {other!r}"
            )
        for name, tensor in update.items():
            kind = VALUE if name == EXAMPLES else DELTA
            if (tensor.dtype, tensor.shape, kinds[name]) != (torch.int32, self.shapes[name], kind):
                return Refusal(
                    Reason.INCOMPATIBLE,
                    f"{name!r} is no {kind} of int32 of shape {tuple(self.shapes[name])}",
                )
            if self.largest is not None and (problem := self._range_problem(name, tensor, updates)):
                return problem
        return None

    def _range_problem(self, name: str, tensor: Tensor, updates: int) -> Refusal | None:
        most = (self.largest or 0) * updates
        least = -most
        if name == EXAMPLES:
            least, most = updates, self.most_examples * updates
        if not tensor.numel() or least <= tensor.min() <= tensor.max() <= most:
            return None
        return Refusal(Reason.TOO_LARGE, f"{name!r} has an integer beyond {most}, see --clip")


class FixedRound:
    """Adds integers; the close turns their sum into the round's step."""

    takes_narrow = False

    def __init__(self, plan: FixedPlan) -> None:
        """Begin with an empty sum."""
        self.spec = f"fixed:{plan.bits} of {plan.examples} examples, clip {plan.clip:g}"
        self.sums: dict[str, Tensor] = {}
        """int32, by name."""
        self.largest: int | None = plan.largest
        """The largest magnitude of an integer that is taken; None where it cannot be seen."""
        self._plan = plan
        self._updates = 0

    def problem(self, update: Update, *, version: int) -> Refusal | None:
        """Refuse an update for which the sum has no room."""
        del version
        most = num_updates(self._plan)
        if self._updates + (update.updates or 1) <= most:
            return None
        return Refusal(Reason.FULL, f"its sum has room for {most} updates; see --encoding fixed")

    def checks(
        self, tensors: Mapping[str, Tensor], kinds: Mapping[str, str], limits: UpdateLimits
    ) -> FixedChecks:
        """Return what updates on this version are held against."""
        del limits
        shapes = {name: each.shape for name, each in tensors.items() if kinds[name] == DELTA}
        if self._plan.examples > 1:
            shapes[EXAMPLES] = torch.Size()
        return FixedChecks(shapes, self.largest, self._plan.examples)

    def fold(self, update: Accepted, running: RunningSum) -> float:
        """Add the update to the sum."""
        del running
        for name, sent in update.tensors.items():
            if name in self.sums:
                add_fixed(self.sums[name], sent)
            else:
                self.sums[name] = sent.clone()
        self._updates += update.message.updates or 1
        return 1.0

    def close(self, running: RunningSum, *, version: int) -> None:
        """Leave the sum in `running` as the float64 values that it stands for."""
        del version
        examples = self._updates
        if EXAMPLES in self.sums:
            examples = int(self.sums.pop(EXAMPLES)) % 2**32
        for name, total in self.sums.items():
            running.sums[name] = from_fixed(total, self._plan)
            running.examples[name] = examples
        self.sums, self._updates = {}, 0

    def forget(self, participants: Sequence[str]) -> None:
        """Do nothing: no model is kept beyond its round."""

    def drop_set(self) -> None:
        """Forget the sum of the open round."""
        self.sums, self._updates = {}, 0

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return the sum, and what it is of."""
        return {"updates": self._updates}, {"fixed": self.sums}

    def restore(self, document: Mapping[str, Any], parts: Parts) -> list[str]:
        """Take the sum back."""
        self._updates = document["updates"]
        self.sums = {name: tensor.clone() for name, tensor in parts["fixed"].items()}
        return []
