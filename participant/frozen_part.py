"""The frozen parameters of a network, which come from the task and are never sent."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from fanfold.learning import (
    Task,
    build_network,
    named_parameters,
    named_tensors,
    replace_tensors,
    seeded,
)
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_codec import parameters_sha256


class FrozenPart:
    """Compares the frozen parameters with the coordinator's; checks that training keeps them."""

    def __init__(self, task: Task, network: nn.Module) -> None:
        """Use this network; the coordinator's parameters are not known yet."""
        self._task = task
        self._network = network
        self._names: tuple[str, ...] = ()
        self._digest: str | None = None

    def take(self, names: Sequence[str], digest: str, seed: int) -> None:
        """Make the frozen parameters those of the coordinator, if need be from a new network.

        If the task initialises them at random, only a network built with the run's seed has them.

        Args:
            names: the parameters that the version does not contain.
            digest: the digest of these parameters, from the version.
            seed: the run's seed.

        Raises:
            InvalidInputError: if this task has other values, or does not freeze these parameters.
        """
        if (tuple(names), digest) == (self._names, self._digest):
            return
        parameters = named_parameters(self._network)
        other = [name for name in names if not self._is_frozen(parameters.get(name))]
        if other:
            raise InvalidInputError(
                "the coordinator trains another network than this participant's task: "
                f"{', '.join(other)} did not come with the version, and this task does not freeze "
                "it; start both with the same --task"
            )
        tensors = named_tensors(self._network)
        held = {name: tensors[name] for name in names}
        if parameters_sha256(held) != digest:
            with seeded(seed):
                built = named_tensors(build_network(self._task))
            replace_tensors(held, {name: built[name] for name in names})
        if parameters_sha256(held) != digest:
            raise InvalidInputError(
                f"the frozen parameters of this participant's network ({len(held)} tensors) are "
                "not the coordinator's: is a file that they come from another one? Give both the "
                "same --task and the same files; or begin the coordinator from a file with "
                "--initial, whose frozen parameters travel"
            )
        self._names, self._digest = tuple(names), digest

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Run a training and check that it left these parameters unchanged.

        Raises:
            InvalidInputError: if it changed them: the changes would never be sent.
        """
        if not self._names:
            yield
            return
        parameters = named_parameters(self._network)
        before = [self._state(parameters[name]) for name in self._names if name in parameters]
        yield
        parameters = named_parameters(self._network)
        after = [self._state(parameters[name]) for name in self._names if name in parameters]
        if before != after:
            raise InvalidInputError(
                "the task's `fit` trains parameters that the network of its `network` has frozen, "
                "and that do not travel; let `network` give them with requires_grad=True"
            )

    @staticmethod
    def _is_frozen(parameter: nn.Parameter | None) -> bool:
        return parameter is not None and not parameter.requires_grad

    @staticmethod
    def _state(parameter: nn.Parameter) -> tuple[bool, int]:
        """Return whether it requires gradients, and torch's count of changes in place."""
        return parameter.requires_grad, parameter._version  # noqa: SLF001 - nothing public has it
