"""Client-level differential privacy: what one participant adds to a version cannot be told.

Every update has weight 1, whatever its examples, and the divisor n is fixed beforehand, so that one
update moves the round's step by at most C/n. At the coordinator N(0, (z C)^2) is added once to the
sum, z C / n on the mean; at the participants each adds as much to its own update, which makes
z C / sqrt(n). What that guarantees is told for two kinds of neighbouring runs, see
`privacy_settings`: all updates of one participant zero, or any others.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Self

import torch
from torch import Tensor

from fanfold.coordinator.aggregation.deltas_alone import check_deltas_alone
from fanfold.coordinator.aggregation.privacy_settings import PrivacySettings
from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.coordinator.aggregation.running_sum import DELTA, RunningSum
from fanfold.learning import clip_factor, joint_norm, secure_normal


@dataclass(frozen=True, slots=True)
class DifferentialPrivacy(PrivacySettings):
    """The rules of a private run, and what they do. Holds no state and no randomness of its own."""

    draw: Callable[[torch.Size, float], Tensor] = secure_normal
    """Called with shape and standard deviation."""

    @classmethod
    def of(cls, settings: PrivacySettings | None) -> Self | None:
        """Return what the rules do; None where there are none."""
        return None if settings is None else cls(**asdict(settings))

    @staticmethod
    def check_model(tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> None:
        """Refuse a model that updates would tell more of than their clipped deltas.

        Raises:
            InvalidInputError: if it has floating buffers, or parameters that are not finite: their
                deltas have no length.
        """
        check_deltas_alone("--dp-clip", tensors, kinds)

    @staticmethod
    def refusal(update: Mapping[str, Tensor], kinds: Mapping[str, str]) -> Refusal | None:
        """Refuse a partial update: its missing tensors would tell who it is from."""
        wanted = {name for name, kind in kinds.items() if kind == DELTA}
        if update.keys() == wanted:
            return None
        return Refusal(Reason.INCOMPATIBLE, "privacy takes the deltas of all parameters, only them")

    def scale(self, update: Mapping[str, Tensor]) -> float:
        """Return what an update is multiplied with: 1, or less where it is longer than C."""
        return 1.0 if self.at == "participant" else clip_factor(joint_norm(update), self.clip)

    def finish(self, running: RunningSum) -> None:
        """Make a sum of updates the private one, with the fixed divisor."""
        for name in running.sums:
            running.examples[name] = self.divisor
            if self.at == "coordinator":
                noise = self.draw(running.sums[name].shape, self.noise * self.clip)
                running.sums[name].add_(noise)
