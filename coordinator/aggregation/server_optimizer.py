"""The server's optimizer takes the round's step, with minus the step as gradient.

This is FedOpt (Reddi et al. 2021, Adaptive Federated Optimization, algorithm 1). The optimizer is
one of torch's, or one of `paper_optimizers.py`.

Floating tensors of 16 bits and less have a master in float32, which takes the steps: a step of
0.001 would be lost on a bfloat16 of 1, and Adam's epsilon is 0 in float16. What is published is the
master, rounded.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from fanfold.coordinator.aggregation import float64
from fanfold.coordinator.aggregation.optimizer_spec import OptimizerSpec
from fanfold.coordinator.aggregation.paper_optimizers import Fadas
from fanfold.coordinator.aggregation.running_sum import DELTA, RunningSum
from fanfold.schemas.errors import InvalidInputError


class ServerOptimizer:
    """Turns a finished running sum into new values of the global tensors, in place."""

    def __init__(
        self,
        spec: OptimizerSpec,
        tensors: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        masters: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Bind the optimizer to the global tensors; those of kind `delta` are what it optimizes.

        Args:
            spec: the optimizer.
            tensors: the global tensors by name, changed in place.
            kinds: by name.
            masters: those of narrow tensors where they exist already; made of the tensors if None.
        """
        self._spec = spec
        self._tensors = tensors
        self.masters = dict(masters_of(tensors) if masters is None else masters)
        """Float32, of the narrow tensors only."""
        self._exact = {**tensors, **self.masters}
        self._parameters = {
            name: torch.nn.Parameter(tensor, requires_grad=False)  # shares the tensor's storage
            for name, tensor in self._exact.items()
            if kinds[name] == DELTA
        }
        self._optimizer: torch.optim.Optimizer | None = None
        if not spec.is_plain_averaging and self._parameters:
            self._optimizer = spec.make(list(self._parameters.values()))

    @torch.no_grad()
    def apply(self, running: RunningSum, *, largest_staleness: int = 0) -> str | None:
        """Take one step and use the sum up.

        A tensor that nobody sent stays as it is, its momentum included.

        Args:
            running: the round's.
            largest_staleness: of its updates, for an optimizer that heeds it.

        Returns:
            The name of a tensor that would not be finite any more: then no tensor has changed, but
            the optimizer's own state may have, so that no other step can follow. None if all is
            well.
        """
        if isinstance(self._optimizer, Fadas):
            self._optimizer.largest_staleness = largest_staleness
        moves: dict[str, Tensor] = {}
        for name in list(running.sums):
            if not self._tensors[name].is_floating_point():
                continue
            step = running.step(name)
            if self._optimizer is not None and name in self._parameters:
                self._parameters[name].grad = step.neg_().to(self._exact[name].dtype)
            elif self._is_too_far(name, step, running):
                return name
            else:
                moves[name] = step
        if (broken := self._step(running.holes)) is not None:
            return broken
        self._move(moves, running)
        return None

    def _move(self, moves: dict[str, Tensor], running: RunningSum) -> None:
        """Take the steps that no optimizer of torch's takes, and what travels as it is."""
        for name in list(moves):
            if (beginning := running.beginning(name)) is not None:
                self._exact[name].masked_fill_(beginning, 0.0)
            float64.move_by(self._exact[name], moves.pop(name))
        for name in list(running.sums):
            self._tensors[name].copy_(running.sums.pop(name))
        for name, master in self.masters.items():
            self._tensors[name].copy_(master)

    def _is_too_far(self, name: str, step: Tensor, running: RunningSum) -> bool:
        """Whether a tensor would not be finite after a step, where it is now or begins to be."""
        tensor = self._exact[name]
        if name in running.holes:
            tensor = tensor.masked_fill(running.holes[name], 0.0)
        return float64.overflows(tensor, step, self._tensors[name].dtype)

    def _step(self, holes: Mapping[str, Tensor]) -> str | None:
        """Let torch's optimizer step; return a parameter that would not be finite, if there is one.

        Then all parameters are as they were.
        """
        if self._optimizer is None:
            return None
        moving = {name: each for name, each in self._parameters.items() if each.grad is not None}
        before = {name: parameter.detach().clone() for name, parameter in moving.items()}
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        broken = next((name for name in moving if not self._is_sound(name, holes.get(name))), None)
        if broken is not None:
            for name, values in before.items():
                moving[name].copy_(values)
        return broken

    def _is_sound(self, name: str, hole: Tensor | None) -> bool:
        """Whether a parameter, as it is published, and its state are finite outside of holes."""
        assert self._optimizer is not None  # it stepped
        parameter = self._parameters[name]
        kept = self._optimizer.state[parameter].values()
        tensors = [parameter.to(self._tensors[name].dtype)]
        tensors += [each for each in kept if isinstance(each, Tensor) and each.is_floating_point()]
        return all(
            float64.is_finite(
                each if hole is None or each.shape != hole.shape else each.masked_fill(hole, 0.0)
            )
            for each in tensors
        )

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's tensors as `parameter name/state key`, for the checkpoint."""
        if self._optimizer is None:
            return {}
        return {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self._optimizer.state[parameter].items()
            if isinstance(value, Tensor)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned.

        A run that kept no state so far may go on with any optimizer, which then begins here.

        Raises:
            InvalidInputError: if it is the state of another optimizer, or of other parameters.
        """
        keys: dict[str, set[str]] = {}
        for path in state:
            name, _, key = path.rpartition("/")
            keys.setdefault(name, set()).add(key)
        kept: dict[tuple[int, ...], set[str]] = {}
        """By shape, for few shapes differ from what was tried before."""
        for name, found in keys.items():
            parameter = self._parameters.get(name)
            shape = () if parameter is None else _small(parameter.shape)
            if shape not in kept:
                kept[shape] = self._state_keys(shape)
            wanted = kept[shape]
            if parameter is None or found != wanted:
                raise InvalidInputError(
                    f"the checkpoint holds {', '.join(sorted(found))} of the server optimizer for "
                    f"{name!r}, this one keeps {', '.join(sorted(wanted)) or 'nothing'}; resume "
                    "with the server optimizer the run had, or start anew with --fresh"
                )
        for path, value in state.items():
            name, _, key = path.rpartition("/")
            assert self._optimizer is not None  # it keeps what is wanted
            self._optimizer.state[self._parameters[name]][key] = (
                value.float() if _is_narrow(value) else value.clone()
            )

    def _state_keys(self, shape: tuple[int, ...]) -> set[str]:
        """Return what the optimizer keeps for a parameter, as one step with a small one shows.

        Adafactor, for one, keeps other tensors for a matrix than for a vector.
        """
        if self._optimizer is None:
            return set()
        trial = torch.nn.Parameter(torch.zeros(shape))
        trial.grad = torch.zeros(shape)
        optimizer = self._spec.make([trial])
        optimizer.step()
        return {key for key, value in optimizer.state[trial].items() if isinstance(value, Tensor)}


def masters_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 copies of the narrow floating tensors."""
    return {name: tensor.float() for name, tensor in tensors.items() if _is_narrow(tensor)}


def _is_narrow(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() < torch.float32.itemsize


def _small(shape: torch.Size) -> tuple[int, ...]:
    """Return a shape of as many dimensions, none longer than 2."""
    return tuple(min(length, 2) for length in shape)
