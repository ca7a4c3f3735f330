"""What the operator of a coordinator decides: one frozen object, a sentence per field.

The sentences are the command line's help. All mistakes are reported at once, at start-up.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fanfold.coordinator.aggregation.fixed_settings import fixed_plan, is_fixed
from fanfold.coordinator.aggregation.privacy_settings import PrivacySettings, privacy_settings
from fanfold.coordinator.rounds.closing_rule import RoundPolicy
from fanfold.coordinator.settings.checks import TRACK
from fanfold.coordinator.settings.round_settings import Positive, RoundSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.keeper_messages import check_keepers
from fanfold.schemas.messages import FederationName, FixedPlan

SPREAD = 10
"""Standard deviations of noise that an integer has room for."""


class HostedRoundSettings(RoundSettings):
    """The rounds of a federation at a broker, whoever has the data for their evaluation."""

    federation: FederationName = Field("fanfold", description="Name of the federation.")
    broker: tuple[str, ...] = Field(
        (),
        repr=False,
        description="Broker URL, amqp://user:password@host:port/vhost; repeatable.",
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
    shared_login: tuple[str, ...] = Field(
        (), description="Broker login that participants share, under any id; repeatable."
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the CAs to trust with amqps://; the system's by default."
    )
    certificate: Path | None = Field(
        None, description="PEM file of a client certificate; the login if a URL has no password."
    )
    key: Path | None = Field(None, description="PEM file of the certificate's key.")
    max_participants: int = Field(
        10_000, ge=1, description="Most participants that may use one shared login."
    )
    when_all_refused: Literal["end", "wait"] = Field(
        "end",
        description="If the updates of all participants present are refused: end the run after "
        "half a minute, or wait for others.",
    )
    require_login: bool = Field(
        False,
        description="Accept a participant's id only if it is its broker login; always so with "
        "--credentials. Otherwise participants may also use the coordinator's own login.",
    )
    out: Path = Field(Path("runs/fanfold"), description="Folder for model, history and checkpoint.")
    device: str | None = Field(
        None, description="Device of the evaluation; the local accelerator by default."
    )
    publish_final: bool = Field(
        False,
        description="Send the last model to all participants, who keep it in their --state-dir as "
        "final.safetensors.",
    )
    resume: bool = Field(
        True, description="Resume from the checkpoint in --out; --no-resume is the same as --fresh."
    )
    restored: bool = Field(
        False,
        description="--out was restored from a backup: go on from it, above all that participants "
        "have seen since.",
    )
    accept_lost_history: bool = Field(
        False,
        description="Resume although the history lost lines; the run cannot be replayed then.",
    )
    commit_seconds: Positive = Field(
        30.0, description="Longest time in seconds that an update waits for its commit."
    )
    commit_updates: int = Field(256, ge=1, description="Most updates that wait for a commit.")
    heartbeat_seconds: int = Field(60, ge=1, description="AMQP heartbeat.")
    chunk_bytes: int = Field(
        4 << 20, ge=1 << 10, lt=16 << 20, description="Largest body of one message, in bytes."
    )
    connect_seconds: Positive = Field(
        30.0, description="Seconds for which to try to reach the broker at the start."
    )
    reconnect_seconds: Positive = Field(
        60.0, description="Longest pause in seconds between two attempts to reach the broker."
    )
    results_queue: Literal["classic", "quorum"] = Field(
        "classic",
        description="Type of the queues that the coordinator reads; quorum queues survive the loss "
        "of a node of a cluster.",
    )
    results_bytes: int | None = Field(
        None, ge=1, description="Most bytes in the results queue; no limit by default."
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )
    tensorboard: Path | None = Field(
        None, description="Folder for TensorBoard event files of loss, accuracy and rounds."
    )
    track: tuple[Annotated[str, TRACK], ...] = Field(
        (),
        description="Experiment tracker that gets settings and metrics: mlflow:FOLDER, "
        "mlflow:http://HOST:PORT, wandb or wandb:PROJECT; repeatable.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
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
    def _a_backup_is_resumed(self) -> Self:
        if self.restored and not self.resume:
            raise InvalidInputError(
                "--restored goes on from the backup in --out, and --fresh begins anew; "
                "leave one of them out"
            )
        return self

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


class CoordinatorSettings(HostedRoundSettings):
    """One coordinator."""

    identity: Path | None = Field(
        None,
        description="Folder with the coordinator's keys, from `fanfold identity`: all messages are "
        "sealed, and signed by their senders.",
    )
    roster: Path | None = Field(
        None, description="Folder of the roster: whose keys count; that of --identity by default."
    )
    sealed: bool = Field(
        False, description="Take part only where all messages are sealed; so with --identity."
    )

    data: Path | None = Field(None, description="Folder of the held-out data, given to the task.")
