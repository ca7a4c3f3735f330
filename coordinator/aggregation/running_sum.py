"""The running sum of a round, and what it makes of the global tensors.

Shapes and dtypes: every tensor here is on the CPU and has the shape and dtype of the global tensor
of its name.

A round's step, for each tensor over the updates k that sent it, with n_k examples and staleness
weight s_k:

    step = sum_k(n_k * s_k * f_k * delta_k) / sum_k(n_k)

f_k is 1 unless an aggregation rule says otherwise (`clipping.py`). Where unequal local work |a_k|
is normalised (`local_work.py`), deltas are divided by it, and the step is multiplied by its mean
sum_k(n_k * |a_k|) / sum_k(n_k). Where all n_k are 0, because a rule trusts nobody, the step is 0.

delta_k is the participant's tensor after local training minus the one before. With every s_k = 1
this is FedAvg (McMahan et al. 2017, algorithm 1, written in deltas); with equal n_k it is FedBuff's
average (Nguyen et al. 2022, algorithm 1). A floating buffer b travels as its value v_k and is
treated as the delta v_k - b, so that a stale running variance stays between values that were really
seen. Integers and booleans keep their dtype and take the largest of what is there and what was
sent.

Where a global value is not finite (a hole), there is nothing to subtract from. A delta leaves it as
it is, and so does a value that is not finite either. A finite value v_k begins it anew, as the mean
over those who sent one: sum_k(n_k * s_k * v_k) / sum_k(n_k * s_k).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fanfold.coordinator.aggregation import float64
from fanfold.schemas.tensor_table import Kind

DELTA: Kind = "delta"
VALUE: Kind = "value"


class RunningSum:
    """Folds one update after another, so that memory does not grow with the number of participants.

    Sums are float64. Folding in another order changes a result by at most one unit in the last
    place of float32; folding in the same order gives the same bits.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        holes: Mapping[str, Tensor] | None = None,
        *,
        room: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Start empty.

        Args:
            tensors: the global tensors by name, which must not change while updates are folded.
            kinds: for each name `delta` (floating parameters) or `value` (buffers, integers,
                booleans).
            holes: what `holes_of` says of the tensors; None where all values are finite.
            room: the sums of a round that is over, whose memory these may take.
        """
        self.tensors = tensors
        self.kinds = kinds
        self._room = dict(room or {})
        self.holes = dict(holes or {})
        """Where tensors are not finite, of those that have such values."""
        self.sums: dict[str, Tensor] = {}
        """Float64 sums of n_k * s_k * delta_k.

        For integers and booleans the largest value so far.
        """
        self.spent: dict[str, Tensor] = {}
        """The memory of the sums that `fold` made: those of the next round may take it."""
        self.examples: dict[str, float] = {}
        """Sum of n_k by tensor."""
        self.work: dict[str, float] = {}
        """Sum of n_k * |a_k| by parameter, where local work is normalised."""
        self.begun: dict[str, Tensor] = {}
        """Of tensors with holes: float64 sums of n_k * s_k where one was sent a finite value."""

    def fold(
        self,
        update: Mapping[str, Tensor],
        *,
        num_examples: float,
        weight: float,
        factor: float = 1.0,
        work: float | None = None,
    ) -> None:
        """Add one update, which must have been validated before.

        Args:
            update: some or all tensors by name; deltas or values as the kinds say.
            num_examples: n_k: a whole number from 1, or what an aggregation rule says, from 0.
            weight: s_k in (0, 1].
            factor: f_k, which deltas are multiplied with, from 0.
            work: |a_k|, above 0, where it is normalised: then all updates of a round have one.
        """
        for name, sent in update.items():
            here = self.tensors[name]
            is_delta = self.kinds[name] == DELTA
            scale = num_examples * weight * (factor if is_delta else 1.0)
            if is_delta and work is not None:
                scale /= work
                self.work[name] = self.work.get(name, 0) + num_examples * work
            if not here.is_floating_point():
                self.sums[name] = _largest(self.sums.get(name, here), sent)
            else:
                delta = sent if self.kinds[name] == DELTA else sent.double() - here.double()
                if name in self.holes:
                    delta = self._around_holes(name, sent, delta, scale)
                if name in self.sums:
                    float64.add_scaled(self.sums[name], delta, scale)
                else:
                    made = float64.scaled(delta, scale, room=self._room.pop(name, None))
                    self.sums[name] = self.spent[name] = made
            self.examples[name] = self.examples.get(name, 0) + num_examples

    def state(self) -> dict[str, Any]:
        """Return what is no tensor, for the checkpoint's document."""
        return {"sum_examples": self.examples, "sum_work": self.work}

    def restore(
        self,
        document: Mapping[str, Any],
        *,
        sums: Mapping[str, Tensor],
        begun: Mapping[str, Tensor],
    ) -> None:
        """Take back what `state` returned, and the tensors, which are copied."""
        self.examples = dict(document["sum_examples"])
        self.work = dict(document.get("sum_work", {}))
        self.sums = {name: tensor.clone() for name, tensor in sums.items()}
        self.begun = {name: tensor.clone() for name, tensor in begun.items()}

    def step(self, name: str) -> Tensor:
        """Return the float64 step of one floating tensor that somebody sent.

        Holes that begin anew step from 0: `beginning` says which. The sum itself is used up.
        """
        total, examples = self.sums.pop(name), self.examples[name]
        if not examples:
            return total.zero_()
        if name in self.work:
            total.mul_(self.work[name] / examples)
        begun = self.begun.get(name)
        if begun is None:
            return total.div_(examples)
        return total.div_(torch.where(begun > 0, begun, examples))

    def beginning(self, name: str) -> Tensor | None:
        """Return which values of a tensor begin anew, as booleans; None where there are none."""
        begun = self.begun.get(name)
        return None if begun is None else begun > 0

    def take(self, update: Mapping[str, Tensor]) -> None:
        """Let this be the only update: its float64 deltas become the sum itself, and are used up.

        Args:
            update: as `fold` takes it; deltas are float64, and 0 at holes.
        """
        for name, sent in update.items():
            if self.kinds[name] == DELTA:
                self.sums[name], self.examples[name] = sent, 1
            else:
                self.fold({name: sent}, num_examples=1, weight=1.0)

    def deltas_of(self, update: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return an update's deltas, with 0 at holes."""
        return {
            name: sent.masked_fill(self.holes[name], 0.0) if name in self.holes else sent
            for name, sent in update.items()
            if self.kinds[name] == DELTA
        }

    def _around_holes(self, name: str, sent: Tensor, delta: Tensor, scale: float) -> Tensor:
        """Return a delta that is 0 at holes, or the value where one begins anew."""
        delta = delta.masked_fill(self.holes[name], 0.0)
        if self.kinds[name] == DELTA:
            return delta
        begins = self.holes[name] & float64.finite(sent)
        if name not in self.begun:
            self.begun[name] = torch.zeros(sent.shape, dtype=torch.float64)
        self.begun[name] += begins * scale
        return torch.where(begins, sent.double(), delta)


def holes_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return where floating tensors are not finite, as booleans; only those that have such values.

    Args:
        tensors: by name, on the CPU.
    """
    return {
        name: ~float64.finite(tensor)
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not float64.is_finite(tensor)
    }


def _largest(here: Tensor, sent: Tensor) -> Tensor:
    """Elementwise maximum; through numpy, which knows all unsigned integers, as torch does not."""
    if here.dtype in (torch.uint16, torch.uint32, torch.uint64):
        import numpy as np  # noqa: PLC0415  # only these rare dtypes need it

        return torch.from_numpy(np.maximum(here.numpy(), sent.numpy()))
    return torch.maximum(here, sent)
