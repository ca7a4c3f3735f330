"""The server's optimizer takes the round's step, with minus the step as gradient.

This is FedOpt (Reddi et al. 2021, Adaptive Federated Optimization, algorithm 1).
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from coordinator import float64
from coordinator.aggregation import DELTA, RunningSum
from schemas.errors import InvalidInputError

Argument = float | bool | tuple[float, ...]

_SPARSE_OR_CLOSURE = {"LBFGS", "SparseAdam", "Optimizer"}


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """A dense `torch.optim` class and its arguments."""

    name: str
    arguments: Mapping[str, Argument]

    @property
    def is_plain_averaging(self) -> bool:
        """Whether this is FedAvg itself: SGD with lr 1 and nothing else."""
        rest = {key: value for key, value in self.arguments.items() if key != "lr"}
        return self.name == "SGD" and self.arguments.get("lr") == 1 and not any(rest.values())


def parse_optimizer(spec: str) -> OptimizerSpec:
    """Read for example `sgd`, `sgd:lr=1,momentum=0.9` or `adam:lr=0.01,betas=0.9/0.99`.

    SGD's lr is 1 unless given.

    Raises:
        InvalidInputError: if torch has no such dense optimizer, or it does not take such arguments.
    """
    word, _, rest = spec.partition(":")
    classes = {
        name.lower(): name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    }
    name = classes.get(word.lower())
    if name is None or name in _SPARSE_OR_CLOSURE:
        raise InvalidInputError(
            f"server optimizer {word!r} is no dense torch.optim class without a closure; "
            "use for example sgd or adam"
        )
    arguments: dict[str, Argument] = {"lr": 1.0} if name == "SGD" else {}
    for item in filter(None, rest.split(",")):
        key, _, text = item.partition("=")
        arguments[key] = _argument(item, text)
    parsed = OptimizerSpec(name, arguments)
    if parsed.is_plain_averaging:
        # Nothing to ask torch: its first optimizer loads its compiler, seconds and 300 MB of it.
        return parsed
    try:
        getattr(torch.optim, name)([torch.zeros(1)], **arguments)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"server optimizer {spec!r} is refused by torch: {error}") from None
    return parsed


def _argument(item: str, text: str) -> Argument:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        numbers = tuple(float(number) for number in text.split("/"))
    except ValueError:
        raise InvalidInputError(
            f"server optimizer argument {item!r} must read name=number, name=true or name=0.9/0.999"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


class ServerOptimizer:
    """Turns a finished running sum into new values of the global tensors, in place."""

    def __init__(
        self, spec: OptimizerSpec, tensors: Mapping[str, Tensor], kinds: Mapping[str, str]
    ) -> None:
        """Bind the optimizer to the global tensors; those of kind `delta` are what it optimizes."""
        self._spec = spec
        self._tensors = tensors
        self._parameters = {
            name: torch.nn.Parameter(tensor, requires_grad=False)  # shares the tensor's storage
            for name, tensor in tensors.items()
            if kinds[name] == DELTA
        }
        self._optimizer: torch.optim.Optimizer | None = None
        if not spec.is_plain_averaging and self._parameters:
            self._optimizer = getattr(torch.optim, spec.name)(
                list(self._parameters.values()), **spec.arguments
            )

    @torch.no_grad()
    def apply(self, running: RunningSum) -> None:
        """Take one step and use the sum up.

        A tensor that nobody sent stays as it is, its momentum included.
        """
        for name in list(running.sums):
            tensor = self._tensors[name]
            if not tensor.is_floating_point():
                tensor.copy_(running.sums.pop(name))
            elif self._optimizer is None or name not in self._parameters:
                float64.move_by(tensor, running.step(name))
            else:
                self._parameters[name].grad = running.step(name).neg_().to(tensor.dtype)
        if self._optimizer is not None:
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)

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
        wanted = self._state_keys() if keys else set()
        for name, found in keys.items():
            if name not in self._parameters or found != wanted:
                raise InvalidInputError(
                    f"the checkpoint holds {', '.join(sorted(found))} of the server optimizer for "
                    f"{name!r}, this one keeps {', '.join(sorted(wanted)) or 'nothing'}; resume "
                    "with the server optimizer the run had, or start anew with --fresh"
                )
        for path, value in state.items():
            name, _, key = path.rpartition("/")
            assert self._optimizer is not None  # noqa: S101 - it keeps what is wanted
            self._optimizer.state[self._parameters[name]][key] = value.clone()

    def _state_keys(self) -> set[str]:
        """Return what the optimizer keeps for each parameter, as one step with it shows."""
        if self._optimizer is None:
            return set()
        trial = torch.nn.Parameter(torch.zeros(1))
        trial.grad = torch.zeros(1)
        optimizer = getattr(torch.optim, self._spec.name)([trial], **self._spec.arguments)
        optimizer.step()
        return {key for key, value in optimizer.state[trial].items() if isinstance(value, Tensor)}
