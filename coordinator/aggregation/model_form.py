"""What a network holds beside the tensors that travel, and how a model file looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

from fanfold.learning import complex_names, tied_names
from fanfold.learning.adapter import Adapter
from fanfold.schemas.tensor_codec import parameters_sha256


@dataclass(frozen=True, slots=True)
class ModelForm:
    """What makes the tensors of a run the state of a network again."""

    tied: Mapping[str, str]
    """Further names of tensors that travel once, each with the name under which they do."""
    complex_names: frozenset[str]
    """Those that travel as real ones of shape [..., 2]."""
    frozen: Mapping[str, Tensor] = field(default_factory=dict)
    """Those that do not travel, because everybody has them from the task."""
    adapter: Adapter | None = None
    """What is tuned, where the rest is a base model: the files leave that out."""

    @classmethod
    def of(
        cls,
        network: nn.Module,
        frozen: Mapping[str, Tensor] | None = None,
        adapter: Adapter | None = None,
    ) -> Self:
        """Look at a network of the task."""
        return cls(tied_names(network), frozenset(complex_names(network)), frozen or {}, adapter)

    @property
    def frozen_sha256(self) -> str | None:
        """The digest of what does not travel; None where everything does."""
        return parameters_sha256(self.frozen) if self.frozen else None

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a run with those that do not travel."""
        return {**self.frozen, **tensors}

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what a file holds, as `load_state_dict` takes it; nothing is copied.

        That is the whole network; beside an adapter, without what is frozen.
        """
        state = {
            name: torch.view_as_complex(tensor)
            if name in self.complex_names and tensor.dtype == torch.float32
            else tensor
            for name, tensor in (self.whole(tensors) if self.adapter is None else tensors).items()
        }
        return state | {name: state[first] for name, first in self.tied.items() if first in state}
