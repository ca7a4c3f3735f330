"""All that is decided for one run: rounds, training, privacy and masks, whoever hosts it."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fanfold.coordinator.aggregation.fixed_settings import fixed_plan, is_fixed
from fanfold.coordinator.aggregation.privacy_settings import PrivacySettings, privacy_settings
from fanfold.coordinator.rounds.closing_rule import RoundPolicy
from fanfold.coordinator.settings.checks import KEEP_VERSIONS
from fanfold.coordinator.settings.round_settings import RoundSettings
from fanfold.schemas.client_settings import Positive
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.keeper_messages import check_keepers
from fanfold.schemas.messages import FixedPlan

SPREAD = 10
"""Standard deviations of noise that an integer has room for."""


class RunSettings(RoundSettings):
    """One run among participants at a broker."""

    max_region_updates: int | None = Field(
        None,
        ge=1,
        description="Most participants whose updates a region may send as one sum; by default no "
        "region may take part.",
    )
    dp_clip: Positive | None = Field(
        None, description="Differential privacy: largest L2 norm of an update; with --dp-noise."
    )
    dp_noise: float | None = Field(
        None,
        ge=1e-6,  # less gives no privacy, and an epsilon too large for a float
        allow_inf_nan=False,
        description="Differential privacy: standard deviation of the noise, as a multiple of "
        "--dp-clip.",
    )
    dp_at: Literal["participant", "coordinator", "sum"] = Field(
        "coordinator",
        description="Who adds the noise: participant, coordinator, or sum: participants, so much "
        "that the sum of the quorum has it; takes --masks.",
    )
    dp_delta: float = Field(1e-5, gt=0, lt=1, description="The delta at which epsilon is reported.")
    dp_max_epsilon: Positive | None = Field(
        None,
        description="End the run before a round with which somebody's epsilon (zero-out) exceeds "
        "this.",
    )
    dp_divisor: int | None = Field(
        None,
        ge=1,
        description="Fixed divisor of a private round; by default the goal or --min-participants.",
    )
    masks: tuple[Path, ...] = Field(
        (),
        description="Public identity of a keeper of masks, once or three times: nobody sees a "
        "single update, the coordinator neither; takes --encoding fixed.",
    )
    masks_at_least: int = Field(
        2,
        ge=2,
        description="Fewest participants of a masked round; as many as the keepers ask for.",
    )
    when_all_refused: Literal["end", "wait"] = Field(
        "end",
        description="If the updates of all participants present are refused: end the run after "
        "half a minute, or wait for others.",
    )
    publish_final: bool = Field(
        False,
        description="Send the last model to all participants, who keep it in their --state-dir as "
        "final.safetensors.",
    )
    keep_versions: Annotated[str, KEEP_VERSIONS] = Field(
        "0",
        description="Versions whose models are kept beside the last and the best one, in the "
        "folder versions: all, every:K, or a number for the newest ones.",
    )

    @property
    def policy(self) -> RoundPolicy:
        """The rules of a round; one that is masked closes with no less than keepers answer for."""
        policy = super().policy
        least = self.masks_at_least if self.masks else 1
        if self.dp_at == "sum" and self.dp_clip is not None:
            least = max(least, self.noise_parts)
        return replace(policy, quorum=max(policy.quorum, least))

    @property
    def noise_parts(self) -> int:
        """Into how many parts the noise of a sum is divided: no round closes with fewer updates."""
        goal = super().policy.goal
        wanted = self.min_participants if goal == "all" else goal
        return self.quorum if self.quorum > 1 else wanted

    @property
    def largest_sum(self) -> int | None:
        """Most updates that a region may send as one sum; None takes no regions."""
        return self.max_region_updates

    @property
    def fixed(self) -> FixedPlan | None:
        """How updates become integers, and their share of the noise; None where they do not."""
        plan = super().fixed
        if plan is None or self.dp_at != "sum" or self.dp_clip is None or self.dp_noise is None:
            return plan
        std = self.dp_noise * self.dp_clip / math.sqrt(self.noise_parts)
        goal = super().policy.goal
        plan = fixed_plan(
            self.encoding,
            clip=self.dp_clip,
            spread=SPREAD * std,
            needed=max(self.noise_parts, self.min_participants if goal == "all" else goal),
            examples=None,
        )
        return plan.model_copy(update={"noise": std * 2.0**plan.bits})

    @model_validator(mode="after")
    def _masks_are_possible(self) -> Self:
        check_keepers(self.masks)
        if not self.masks:
            return self
        if not is_fixed(self.encoding):
            raise InvalidInputError(
                f"--masks hide integers, and --encoding {self.encoding} makes none; set "
                "--encoding fixed"
            )
        return self

    @property
    def privacy(self) -> PrivacySettings | None:
        """The settings of differential privacy; None without it."""
        divisor = self.min_participants if self.policy.goal == "all" else self.policy.goal
        return privacy_settings(
            clip=self.dp_clip,
            noise=self.dp_noise,
            at=self.dp_at,
            delta=self.dp_delta,
            divisor=self.dp_divisor or divisor,
            max_epsilon=self.dp_max_epsilon,
            encodings=(self.encoding, self.encoding_down),
        )

    @model_validator(mode="after")
    def _privacy_is_possible(self) -> Self:
        if self.privacy is not None:
            self._check_integers()
        # Staleness would only lower a weight, but every update of a private run has the same one.
        asked = "staleness" in self.model_fields_set and self.staleness != "constant"
        if self.privacy is not None and asked and self.policy.max_staleness > 0:
            raise InvalidInputError("--dp-clip gives every update weight 1; leave --staleness out")
        return self

    @property
    def is_masked(self) -> bool:
        """Whether nobody sees a single update."""
        return bool(self.masks)

    def _check_integers(self) -> None:
        is_sum, has_integers = self.dp_at == "sum", is_fixed(self.encoding)
        if has_integers and not is_sum:
            raise InvalidInputError(
                f"--dp-at {self.dp_at} adds noise to floats, and --encoding {self.encoding} makes "
                "integers; set --dp-at sum, or leave --encoding out"
            )
        if is_sum and not self.is_masked:
            raise InvalidInputError(
                "--dp-at sum gives each update but a part of the noise, so that none may be seen "
                "alone; set --masks and --encoding fixed, or --dp-at participant"
            )
        if is_sum and self.clip is not None:
            raise InvalidInputError("--dp-clip is the clip of a private run; leave --clip out")
