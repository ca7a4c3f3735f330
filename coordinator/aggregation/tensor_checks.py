"""Whether an update's tensors may enter the sum, held against what the model itself says.

Names, shapes, dtypes and kinds must be the model's own, every value finite, and no magnitude
absurd. A value that is not finite is no fault where the model's own is the same: masks and limits
are built of them. The bounds that hold without any setting are a net against nonsense such as 1e30,
which one update could ruin a model with; they are far above anything that training does, and no
defence against an update that is meant to look plausible. `--max-update-norm` and
`--max-buffer-norm` are the bounds to set where strangers take part.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fanfold.coordinator.aggregation import float64
from fanfold.coordinator.aggregation.refusals import Reason, Refusal, UpdateLimits
from fanfold.coordinator.aggregation.running_sum import DELTA

DELTA_FACTOR = 100.0
"""An update may be so many times as long as the model, plus 1 for the root mean square value."""
DELTA_VALUE = 1e12
"""A delta may have this root mean square value, whatever the model's: the first steps of a small
regression on dollars or populations are as large as those.
"""
VALUE_FACTOR = 10_000.0
"""The same for a floating buffer, which may start at 1 and learn the variance of raw pixels."""
BUFFER_VALUE = 1e20
"""A floating buffer may have this root mean square value, whatever it was: the first variance of a
column of dollars or bytes is ordinary.
"""
INTEGER_STEPS = {8: 2**40, 4: 2**24, 2: 2**12}
"""A value of an integer buffer, such as a count of batches, grows by no more than this in one
update: by its bytes. The largest one sent stands, so a jump to the end would stand for good. A
single byte has no room to count in: it may take any value.
"""

NormOf = Callable[[Tensor], float | None]
"""Returns a norm, or None where a value is not finite."""


class Checks(Protocol):
    """Holds updates against one version of the model. No update changes it."""

    def inspect(
        self,
        update: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        *,
        updates: int = 1,
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> Refusal | None:
        """Say why an update's tensors cannot be folded; None means they can.

        Args:
            update: the tensors by name.
            kinds: of each.
            updates: of how many the integers of fixed point are the sum, from a region.
            dtypes: of the sender's tensors, where `update` has them in fewer bits.
        """
        ...


@dataclass(frozen=True, slots=True)
class TensorChecks:
    """Holds updates against one version of the model. No update changes it."""

    tensors: Mapping[str, Tensor]
    """The global tensors of the current version, on the CPU."""
    kinds: Mapping[str, str]
    max_norm: float | None
    """Of all deltas of an update together, L2; None is a bound by the model."""
    max_buffer_norm: float | None = None
    """Of a floating buffer, and the growth of an integer one; None is a bound by each buffer."""

    @classmethod
    def of(
        cls, tensors: Mapping[str, Tensor], kinds: Mapping[str, str], limits: UpdateLimits
    ) -> "TensorChecks":
        """Hold updates against a version with these tensors."""
        return cls(tensors, kinds, limits.max_norm, limits.max_buffer_norm)

    def inspect(
        self,
        update: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        *,
        updates: int = 1,
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> Refusal | None:
        """Say why an update's tensors cannot be folded; None means they can."""
        del updates  # what a region sends in floats is a mean
        if not update:
            return Refusal(Reason.INCOMPATIBLE, "the update holds no tensor")
        # Ordinary updates are so far below every bound that a norm somewhat too large says it.
        if self._inspect(update, kinds, dtypes, float64.norm_at_most) is None:
            return None
        return self._inspect(update, kinds, dtypes, float64.norm)

    def _inspect(
        self,
        update: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        dtypes: Mapping[str, torch.dtype] | None,
        norm_of: NormOf,
    ) -> Refusal | None:
        square = 0.0
        for name, tensor in update.items():
            dtype = tensor.dtype if dtypes is None else dtypes[name]
            refusal = self._compare(name, tensor.shape, dtype, kinds[name])
            if refusal is not None:
                return refusal
            norm = self._measure(name, tensor, norm_of)
            if isinstance(norm, Refusal):
                return norm
            square += norm * norm
        norm = math.sqrt(square)
        most = self.max_norm or _most(norm, self._deltas(), factor=DELTA_FACTOR, value=DELTA_VALUE)
        if not norm <= most:
            return _too_large(f"{norm:.6g}", most, "--max-update-norm")
        return None

    def _deltas(self) -> list[Tensor]:
        return [tensor for name, tensor in self.tensors.items() if self.kinds[name] == DELTA]

    def _measure(self, name: str, tensor: Tensor, norm_of: NormOf) -> float | Refusal:
        """Return what a tensor adds to the update's norm: 0 where it is no delta."""
        here = self.tensors[name]
        if not tensor.is_floating_point():
            step = INTEGER_STEPS.get(tensor.element_size())
            step = step and math.floor(self.max_buffer_norm or step)
            if step is not None and _grows_by_more_than(step, tensor, here):
                return _too_large(f"a jump of {name!r}", step, "--max-buffer-norm")
            return 0.0
        norm = norm_of(tensor)
        if norm is None:
            norm = norm_of(self._without_what_is_here(name, tensor))
        if norm is None:
            return Refusal(Reason.NON_FINITE, f"in {name!r}")
        if self.kinds[name] == DELTA:
            return norm
        most = self.max_buffer_norm or _most(norm, [here], factor=VALUE_FACTOR, value=BUFFER_VALUE)
        if norm <= most:
            return 0.0
        return _too_large(f"{norm:.6g} in {name!r}", most, "--max-buffer-norm")

    def _without_what_is_here(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor with 0 where the model's own value is not finite, and sent as it is.

        A delta of such a parameter is infinity less infinity, or anything: it is not folded.
        """
        here = self.tensors[name]
        hole = ~float64.finite(here)
        if self.kinds[name] != DELTA:
            hole &= (tensor == here) | (tensor.isnan() & here.isnan())
        return tensor.masked_fill(hole, 0.0)

    def _compare(
        self, name: str, shape: torch.Size, dtype: torch.dtype, kind: str
    ) -> Refusal | None:
        here = self.tensors.get(name)
        if here is None:
            return Refusal(Reason.INCOMPATIBLE, f"there is no tensor {name!r} in this run")
        if (shape, dtype, kind) != (here.shape, here.dtype, self.kinds[name]):
            return Refusal(
                Reason.INCOMPATIBLE,
                f"{name!r} is a {kind} {description(shape, dtype)}, "
                f"this run's is a {self.kinds[name]} {description(here.shape, here.dtype)}",
            )
        return None


def signature(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what two sets of tensors have in common if one can take the place of the other."""
    return {name: description(tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def description(shape: torch.Size, dtype: torch.dtype) -> str:
    """Return dtype and shape in words."""
    return f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"


def _too_large(found: str, most: float, option: str) -> Refusal:
    return Refusal(
        Reason.TOO_LARGE, f"{found}, {most:.6g} allowed; the coordinator's {option} sets the bound"
    )


def _most(norm: float, tensors: list[Tensor], *, factor: float, value: float) -> float:
    """Return a bound on a norm of as many values as these have: by their own, or by `value`.

    Their own norm takes a pass over them, and is looked up only where the other bound is too low.
    """
    least = value * math.sqrt(sum(tensor.numel() for tensor in tensors))
    return least if norm <= least else max(factor * _scale(tensors), least)


def _scale(tensors: list[Tensor]) -> float:
    """Return the L2 norm of all finite values plus that of as many ones."""
    square = sum(_finite_norm(tensor) ** 2 for tensor in tensors)
    return math.sqrt(square) + math.sqrt(sum(tensor.numel() for tensor in tensors))


def _finite_norm(tensor: Tensor) -> float:
    norm = float64.norm(tensor)
    if norm is None:
        norm = float64.norm(tensor.masked_fill(~float64.finite(tensor), 0.0))
    return norm or 0.0


def _grows_by_more_than(step: int, sent: Tensor, here: Tensor) -> bool:
    """Whether any value does.

    Through numpy, which compares unsigned integers too, as torch does not. Where a value grows, the
    difference of the two as unsigned numbers is exact, however far they are apart.
    """
    new, old = (tensor.numpy().reshape(-1) for tensor in (sent, here))
    unsigned = f"u{new.itemsize}"
    grown = new.view(unsigned) - old.view(unsigned)
    return bool((grown[new > old] > step).any())
