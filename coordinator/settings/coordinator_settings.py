"""What the operator of a coordinator decides: one frozen object, a sentence per field.

The sentences are the command line's help. All mistakes are reported at once, at start-up.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.privacy_settings import PrivacySettings, privacy_settings
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.rounds.policy import (
    DEFAULT_GOALS,
    DEFAULT_MAX_STALENESS,
    Mode,
    RoundPolicy,
)
from fanfold.coordinator.settings.checks import (
    AGGREGATOR,
    ENCODING,
    ENCODING_DOWN,
    MIXING,
    SERVER_OPTIMIZER,
    STALENESS,
)
from fanfold.coordinator.settings.training_settings import TrainingSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RoundSettings(TrainingSettings):
    """When rounds close and how they aggregate the updates."""

    task: str = Field(
        "digits", description="What is trained: a built-in task or package.module:ClassName."
    )
    rounds: int = Field(20, ge=0, le=2**53, description="Rounds until the run ends.")
    mode: Mode = Field(
        "sync",
        description="Sets the default goal: sync (all), buffered (3), async (1), or exact (1), the "
        "mean of all participants' latest local models.",
    )
    goal: Literal["all"] | Annotated[int, Field(ge=1)] | None = Field(
        None, description="Updates that close a round: all, or a number."
    )
    quorum: int = Field(
        1, ge=1, description="Fewest updates with which the deadline may close a round."
    )
    deadline_seconds: Positive = Field(
        600.0, description="Seconds after publication from which the quorum is enough."
    )
    min_participants: int = Field(
        1, ge=1, description="Participants that must be present before round 1."
    )
    fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of those present, drawn at random, sent each version.",
    )
    max_staleness: int | None = Field(
        None,
        ge=0,
        description="Largest staleness with which an update counts; 0 in sync mode, 100 in exact, "
        "else 20. In exact mode, a model that is older drops out of the mean.",
    )
    staleness: Annotated[str, STALENESS] = Field(
        "polynomial:0.5",
        description="Weight of stale updates: constant, polynomial:A or hinge:A:B.",
    )
    server_optimizer: Annotated[str, SERVER_OPTIMIZER] = Field(
        "sgd:lr=1", description="Server's optimizer, such as sgd:lr=1,momentum=0.9 or adam:lr=0.01."
    )
    aggregator: Annotated[str, AGGREGATOR] = Field(
        "mean",
        description="Rule that combines a round's updates: mean, clip[:C], "
        "centered-clipping[:TAU], median, trimmed-mean:BETA, krum:F, multi-krum:F:M, "
        "geometric-median, fltrust, or package.module:ClassName.",
    )
    buckets: int | None = Field(
        None, ge=2, description="Give the aggregator means of this many updates, chosen at random."
    )
    mixing: Annotated[str, MIXING] | None = Field(
        None,
        description="nnm:F: replace each update by its mean with all others but the F furthest.",
    )
    normalize_steps: bool = Field(
        False, description="Count unequal numbers of local steps as FedNova does."
    )
    max_update_norm: Positive | None = Field(
        None, description="Largest L2 norm of an update; by default only extreme ones are refused."
    )
    max_buffer_norm: Positive | None = Field(
        None,
        description="Largest L2 norm of a floating buffer of an update, and largest growth of an "
        "integer one; by default only extreme ones are refused.",
    )
    max_examples: int | None = Field(
        None,
        ge=1,
        description="Most examples that an update may claim, which is its weight; no limit by "
        "default, so set it if you do not trust all participants.",
    )
    until_accuracy: float | None = Field(
        None, gt=0, le=1, description="End the run early at this held-out accuracy."
    )
    evaluate_every: int = Field(
        1, ge=1, description="Rounds between evaluations; the last is always one."
    )
    encoding: Annotated[str, ENCODING] = Field(
        "float32", description="Encoding of updates, from participants to the coordinator."
    )
    encoding_down: Annotated[str, ENCODING_DOWN] = Field(
        "float32", description="Encoding of versions, from the coordinator to participants."
    )
    initial: Path | None = Field(None, description="Safetensors file with the initial parameters.")

    @property
    def aggregation(self) -> AggregationSettings:
        """How a round aggregates its updates."""
        return AggregationSettings(
            aggregator=self.aggregator,
            is_exact=self.mode == "exact",
            normalize_steps=self.normalize_steps,
            momentum=self.momentum,
            buckets=self.buckets,
            mixing=self.mixing,
            max_staleness=self.policy.max_staleness,
            seed=self.seed,
        )

    @property
    def limits(self) -> UpdateLimits:
        """The limits that no update may exceed."""
        return UpdateLimits(
            max_staleness=self.policy.max_staleness,
            max_examples=self.max_examples,
            max_norm=self.max_update_norm,
            max_buffer_norm=self.max_buffer_norm,
        )

    @property
    def policy(self) -> RoundPolicy:
        """The rules of a round: goal, quorum, deadline, sample."""
        sync = self.mode == "sync"
        return RoundPolicy(
            goal=DEFAULT_GOALS[self.mode] if self.goal is None else self.goal,
            quorum=self.quorum,
            deadline_seconds=self.deadline_seconds,
            max_staleness=DEFAULT_MAX_STALENESS[self.mode]
            if self.max_staleness is None
            else self.max_staleness,
            only_fresh_count=sync,
            fraction=self.fraction,
        )

    @model_validator(mode="after")
    def _aggregation_is_possible(self) -> Self:
        if self.aggregation == AggregationSettings(
            momentum=self.momentum, max_staleness=self.policy.max_staleness, seed=self.seed
        ):
            return self  # the mean can be combined with everything; checking it needs no torch
        from fanfold.coordinator.aggregation.make_aggregation import (  # noqa: PLC0415 - torch: not for --help
            check_aggregation,
        )

        check_aggregation(
            self.aggregation,
            quorum=self.quorum,
            staleness=self.staleness if self.policy.max_staleness else "constant",
            is_private=getattr(self, "dp_clip", None) is not None,
            encoding=self.encoding,
            optimizer=self.optimizer,
            proximal_mu=self.proximal_mu,
        )
        return self


class CoordinatorSettings(RoundSettings):
    """One coordinator."""

    federation: Identifier = Field("fanfold", description="Name of the federation.")
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
    dp_at: Literal["participant", "coordinator"] = Field(
        "coordinator", description="Who adds the noise: participant or coordinator."
    )
    dp_delta: float = Field(1e-5, gt=0, lt=1, description="The delta at which epsilon is reported.")
    dp_divisor: int | None = Field(
        None,
        ge=1,
        description="Fixed divisor of a private round; by default the goal or --min-participants.",
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
    data: Path | None = Field(None, description="Folder of the held-out data, given to the task.")
    device: str | None = Field(
        None, description="Device of the evaluation; the local accelerator by default."
    )
    resume: bool = Field(
        True, description="Resume from the checkpoint in --out; --no-resume is the same as --fresh."
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
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )

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
            encodings=(self.encoding, self.encoding_down),
        )

    @model_validator(mode="after")
    def _privacy_is_possible(self) -> Self:
        # Staleness would only lower a weight, but every update of a private run has the same one.
        asked = "staleness" in self.model_fields_set and self.staleness != "constant"
        if self.privacy is not None and asked and self.policy.max_staleness > 0:
            raise InvalidInputError("--dp-clip gives every update weight 1; leave --staleness out")
        return self
