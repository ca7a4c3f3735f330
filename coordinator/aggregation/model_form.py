"""What a network holds beside the tensors that travel, and how a model file looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

from fanfold.learning import complex_names, tied_names
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

    @classmethod
    def of(cls, network: nn.Module, frozen: Mapping[str, Tensor] | None = None) -> Self:
        """Look at a network of the task."""
        return cls(tied_names(network), frozenset(complex_names(network)), frozen or {})

    @property
    def frozen_sha256(self) -> str | None:
        """The digest of what does not travel; None where everything does."""
        return parameters_sha256(self.frozen) if self.frozen else None

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a run with those that do not travel."""
        return {**self.frozen, **tensors}

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the whole as `load_state_dict` takes it; nothing is copied."""
        state = {
            name: torch.view_as_complex(tensor)
            if name in self.complex_names and tensor.dtype == torch.float32
            else tensor
            for name, tensor in self.whole(tensors).items()
        }
        return state | {name: state[first] for name, first in self.tied.items() if first in state}
