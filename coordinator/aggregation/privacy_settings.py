"""The rules of a private run as plain values, and what they cost; reading them loads no torch.

An epsilon says how well two neighbouring runs can be told apart, so it means something only
together with what makes runs neighbours:

- *zero-out*: all updates of one participant are replaced by zeros. A sum moves by at most C.
- *replace-one*: all updates of one participant are replaced by any others. A sum moves by at most
  2 C, so noise of z C counts as a multiplier of z / 2.

Both are told, side by side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fanfold.schemas.errors import InvalidInputError, how_to_install
from fanfold.schemas.messages import PrivacyPlan

SENSITIVITIES = {"epsilon_zero_out": 1, "epsilon_replace_one": 2}
"""How far one participant moves a sum, in units of C, under the names of what is told."""
Place = Literal["participant", "coordinator", "sum"]


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What an operator decides; `differential_privacy` beside this file does it to tensors."""

    clip: float
    """C, the largest L2 norm of an update."""
    noise: float
    """z, the standard deviation of the noise over C; above 0."""
    at: Place
    """Who adds the noise."""
    divisor: int
    """n, fixed: how many updates a round is meant to have."""
    delta: float = 1e-5
    max_epsilon: float | None = None
    """The run ends before a round after which somebody would have spent more, zero-out."""

    def exhausted(self, privacy_ledger: Mapping[str, int]) -> str | None:
        """Say why there can be no further round; None if there can."""
        if self.max_epsilon is None:
            return None
        spent = epsilon(self.noise, 1 + max(privacy_ledger.values(), default=0), self.delta)
        if spent <= self.max_epsilon:
            return None
        return (
            f"another round would spend an epsilon of {spent:.4g} (zero-out) at delta "
            f"{self.delta:g}, and --dp-max-epsilon is {self.max_epsilon:g}"
        )

    def plan(self) -> PrivacyPlan:
        """Return what participants are told."""
        return PrivacyPlan(clip=self.clip, noise=self.noise, at=self.at)

    def spent(self, privacy_ledger: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Return epsilon at delta for each participant, by what makes runs neighbours.

        Args:
            privacy_ledger: by participant, how many updates of it became known.
        """
        spent = {}
        for name, sensitivity in SENSITIVITIES.items():
            noise = self.noise / sensitivity
            by_count = {
                count: epsilon(noise, count, self.delta) for count in privacy_ledger.values()
            }
            spent[name] = {each: by_count[count] for each, count in privacy_ledger.items()}
        return spent


def epsilon(noise: float, privacy_ledger: int, delta: float) -> float:
    """Return the privacy spent by so many releases of the Gaussian mechanism, none amplified.

    `noise` is the standard deviation over the sensitivity.

    k releases with noise z are exactly one with z / sqrt(k) (Dong, Roth, Su 2022, Gaussian
    Differential Privacy, corollary 3.3); Google's dp-accounting converts that one.

    Raises:
        InvalidInputError: if dp-accounting is not installed.
    """
    try:
        import numpy as np  # noqa: PLC0415 - not for --help
        from dp_accounting import get_epsilon_gaussian  # noqa: PLC0415 - optional
    except ImportError:
        raise InvalidInputError(
            f"privacy takes the dp-accounting package: {how_to_install('privacy')}"
        ) from None
    if not privacy_ledger:
        return 0.0
    with np.errstate(all="ignore"):  # its search for the bound passes by infinities
        return float(get_epsilon_gaussian(noise / math.sqrt(privacy_ledger), delta))


def privacy_settings(
    *,
    clip: float | None,
    noise: float | None,
    at: Place,
    delta: float,
    divisor: int,
    max_epsilon: float | None = None,
    encodings: Sequence[str],
) -> PrivacySettings | None:
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
    return PrivacySettings(
        clip=clip, noise=noise, at=at, delta=delta, divisor=divisor, max_epsilon=max_epsilon
    )
