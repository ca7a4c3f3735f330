"""What a run began with: to say whether it learned, and to go on with the same frozen network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import Tensor

from fanfold.coordinator.aggregation.running_sum import DELTA
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_codec import parameters_sha256


@dataclass(frozen=True, slots=True)
class Origin:
    """Digests of a run's beginning."""

    parameters: str
    """Of the parameters of version 0 that are trained."""
    frozen: str | None = None
    """Of those that everybody has from the task, and that never travel; None where all do."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> Self:
        """Take note of version 0, of which nothing is frozen."""
        return cls(_digest(tensors, kinds))

    def is_still(self, tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> bool:
        """Whether the parameters are what they were: then nothing was learned."""
        return self.parameters == _digest(tensors, kinds)

    def state(self) -> dict[str, Any]:
        """Return this for the checkpoint."""
        return asdict(self)

    def resumed(self, kept: Mapping[str, Any] | None) -> "Origin":
        """Return the origin that a checkpoint names.

        Raises:
            InvalidInputError: if the frozen part of the task's network is another one by now.
        """
        if kept is None:
            return self
        if kept["frozen"] != self.frozen:
            raise InvalidInputError(
                "the frozen parameters of the task's network are not those the run began with; "
                "resume with the same task and the same files, or start anew with --fresh"
            )
        return Origin(**kept)


def _digest(tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> str:
    return parameters_sha256({name: each for name, each in tensors.items() if kinds[name] == DELTA})
