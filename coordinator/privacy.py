"""Client-level differential privacy: what one participant adds to a version cannot be told.

Every update has weight 1, whatever its examples, and the divisor n is fixed beforehand, so that one
update moves the round's step by at most C/n. At the coordinator N(0, (z C)^2) is added once to the
sum, z C / n on the mean; at the participants each adds as much to its own update, which makes
z C / sqrt(n). The neighbouring runs of this guarantee differ in all updates of one participant.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coordinator.aggregation import DELTA, RunningSum
from coordinator.refusals import Reason, Refusal
from learning import clip_factor, joint_norm, secure_normal
from schemas.errors import InvalidInputError
from schemas.messages import PrivacyPlan


@dataclass(frozen=True, slots=True)
class Privacy:
    """The rules of a private run. Holds no state and no randomness of its own."""

    clip: float
    """C, the largest L2 norm of an update."""
    noise: float
    """z, the standard deviation of the noise over C."""
    at: Literal["participant", "coordinator"]
    """Who adds the noise."""
    divisor: int
    """n, fixed: how many updates a round is meant to have."""
    delta: float = 1e-5
    draw: Callable[[torch.Size, float], Tensor] = secure_normal
    """Called with shape and standard deviation."""

    def plan(self) -> PrivacyPlan:
        """Return what participants are told."""
        return PrivacyPlan(clip=self.clip, noise=self.noise, at=self.at)

    def check_model(self, tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> None:
        """Refuse a model that updates would tell more of than their clipped deltas.

        Raises:
            InvalidInputError: if it has floating buffers.
        """
        buffers = [
            name
            for name, tensor in tensors.items()
            if kinds[name] != DELTA and tensor.is_floating_point()
        ]
        if buffers:
            raise InvalidInputError(
                f"--dp-clip does not go with floating buffers, and the network shares "
                f"{', '.join(buffers[:3])}; keep them private with the task's `shared`, or use a "
                "normalisation without running statistics"
            )

    def refusal(self, update: Mapping[str, Tensor], kinds: Mapping[str, str]) -> Refusal | None:
        """Refuse a partial update: its missing tensors would tell who it is from."""
        wanted = {name for name, kind in kinds.items() if kind == DELTA}
        if update.keys() == wanted:
            return None
        return Refusal(Reason.INCOMPATIBLE, "privacy takes the deltas of all parameters, only them")

    def weight(self, update: Mapping[str, Tensor]) -> float:
        """Return what an update is multiplied with: 1, or less where it is longer than C."""
        return 1.0 if self.at == "participant" else clip_factor(joint_norm(update), self.clip)

    def finish(self, running: RunningSum) -> None:
        """Make a sum of weighted updates the private one, with the fixed divisor."""
        for name in running.sums:
            running.examples[name] = self.divisor
            if self.at == "coordinator":
                noise = self.draw(running.sums[name].shape, self.noise * self.clip)
                running.sums[name].add_(noise)

    def spent(self, releases: Mapping[str, int]) -> dict[str, float]:
        """Return epsilon at delta for each participant, after so many updates of it."""
        by_count = {count: epsilon(self.noise, count, self.delta) for count in releases.values()}
        return {participant: by_count[count] for participant, count in releases.items()}


def epsilon(noise: float, releases: int, delta: float) -> float:
    """Return the privacy spent by so many releases of the Gaussian mechanism, none amplified.

    k releases with noise z are exactly one with z / sqrt(k) (Dong, Roth, Su 2022, Gaussian
    Differential Privacy, corollary 3.3); Google's dp-accounting converts that one.

    Raises:
        InvalidInputError: if dp-accounting is not installed.
    """
    try:
        from dp_accounting import get_epsilon_gaussian  # noqa: PLC0415 - optional
    except ImportError:
        raise InvalidInputError(
            "privacy takes the dp-accounting package: pip install 'warren[privacy]'"
        ) from None
    if releases == 0:
        return 0.0
    return float(get_epsilon_gaussian(noise / math.sqrt(releases), delta)) if noise else math.inf


def privacy_of(
    *,
    clip: float | None,
    noise: float | None,
    at: Literal["participant", "coordinator"],
    delta: float,
    divisor: int,
    encodings: Sequence[str],
) -> Privacy | None:
    """Return the rules that settings name; None where they ask for no privacy.

    Raises:
        InvalidInputError: if they contradict each other, or dp-accounting is not installed.
    """
    if clip is None and noise is None:
        return None
    if clip is None or noise is None:
        raise InvalidInputError("--dp-clip and --dp-noise only mean something together; give both")
    if any(encoding.startswith("topk") for encoding in encodings):
        raise InvalidInputError("--dp-clip does not go with top-k, whose choice of values tells")
    epsilon(noise, 1, delta)  # say now that it cannot be counted, not after the first round
    return Privacy(clip=clip, noise=noise, at=at, delta=delta, divisor=divisor)
