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
from fanfold.coordinator.settings_checks import (
    AGGREGATOR,
    ENCODING,
    ENCODING_DOWN,
    MIXING,
    SERVER_OPTIMIZER,
    STALENESS,
)
from fanfold.coordinator.training_settings import TrainingSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RoundSettings(TrainingSettings):
    """When rounds close and what they make of the updates."""

    task: str = Field(
        "digits", description="What is trained: a built-in task or package.module:ClassName."
    )
    rounds: int = Field(20, ge=0, le=2**53, description="Rounds until the run ends.")
    mode: Mode = Field(
        "sync",
        description="Name for a goal: sync (all), buffered (3), async (1); or exact (1), the mean "
        "of everybody's latest local model.",
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
        1.0, gt=0, le=1, description="Part of those present that gets each version, by a draw."
    )
    max_staleness: int | None = Field(
        None,
        ge=0,
        description="Largest staleness that is folded; 0 in sync mode, 100 in exact, else 20. In "
        "exact mode, who is silent for longer drops out of the mean.",
    )
    staleness: Annotated[str, STALENESS] = Field(
        "polynomial:0.5",
        description="Weight of stale updates: constant, polynomial:A or hinge:A:B.",
    )
    server_optimizer: Annotated[str, SERVER_OPTIMIZER] = Field(
        "sgd:lr=1", description="Step of the centre, such as sgd:lr=1,momentum=0.9 or adam:lr=0.01."
    )
    aggregator: Annotated[str, AGGREGATOR] = Field(
        "mean",
        description="What a round makes of its updates: mean, clip[:C], centered-clipping[:TAU], "
        "median, trimmed-mean:BETA, krum:F, multi-krum:F:M, geometric-median, fltrust, or "
        "package.module:ClassName.",
    )
    buckets: int | None = Field(
        None, ge=2, description="The aggregator sees means of so many updates, drawn by lot."
    )
    mixing: Annotated[str, MIXING] | None = Field(
        None,
        description="nnm:F: the aggregator sees each update mixed with all but the F furthest.",
    )
    normalize_steps: bool = Field(
        False, description="Count unequal numbers of local steps as FedNova does."
    )
    max_update_norm: Positive | None = Field(
        None, description="Largest L2 norm of an update; by default only absurd ones are refused."
    )
    max_buffer_norm: Positive | None = Field(
        None,
        description="Largest L2 norm of a floating buffer of an update, and largest growth of an "
        "integer one; by default only absurd ones are refused.",
    )
    max_examples: int | None = Field(
        None,
        ge=1,
        description="Most examples an update may claim, and weigh; no limit by default, so set it "
        "where strangers take part.",
    )
    until_accuracy: float | None = Field(
        None, gt=0, le=1, description="End the run early at this held-out accuracy."
    )
    evaluate_every: int = Field(
        1, ge=1, description="Rounds between evaluations; the last is always one."
    )
    encoding: Annotated[str, ENCODING] = Field(
        "float32", description="How updates are encoded on their way up."
    )
    encoding_down: Annotated[str, ENCODING_DOWN] = Field(
        "float32", description="How global parameters are encoded on their way down."
    )
    initial: Path | None = Field(None, description="Begin from this safetensors file.")

    @property
    def aggregation(self) -> AggregationSettings:
        """What a round makes of its updates."""
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
        """What these settings let no update exceed."""
        return UpdateLimits(
            max_staleness=self.policy.max_staleness,
            max_examples=self.max_examples,
            max_norm=self.max_update_norm,
            max_buffer_norm=self.max_buffer_norm,
        )

    @property
    def policy(self) -> RoundPolicy:
        """The round's rule that these settings name."""
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
            return self  # the mean goes with everything, and needs no torch
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
        ge=1e-6,  # less is no privacy, and an epsilon that no number can hold
        allow_inf_nan=False,
        description="Differential privacy: standard deviation of the noise over --dp-clip.",
    )
    dp_at: Literal["participant", "coordinator"] = Field(
        "coordinator", description="Who adds the noise: participant or coordinator."
    )
    dp_delta: float = Field(1e-5, gt=0, lt=1, description="The delta at which epsilon is told.")
    dp_divisor: int | None = Field(
        None, ge=1, description="Fixed divisor of a private round; the goal or --min-participants."
    )
    shared_login: tuple[str, ...] = Field(
        (), description="Broker login that participants share, under any id; repeatable."
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the CAs to trust with amqps://; the system's by default."
    )
    certificate: Path | None = Field(
        None, description="PEM file of our own certificate; the login where a URL has no password."
    )
    key: Path | None = Field(None, description="PEM file of the certificate's key.")
    max_participants: int = Field(
        10_000, ge=1, description="Most participants that one shared login may bring in."
    )
    when_all_refused: Literal["end", "wait"] = Field(
        "end",
        description="Where the updates of all who are present are refused: end the run after half "
        "a minute, or wait for others.",
    )
    require_login: bool = Field(
        False,
        description="Believe a participant's id only if it is its broker login; always so with "
        "--credentials. Otherwise the coordinator's own login may be shared under any id.",
    )
    out: Path = Field(Path("runs/fanfold"), description="Folder for model, history and checkpoint.")
    data: Path | None = Field(None, description="Folder of the held-out data, given to the task.")
    device: str | None = Field(
        None, description="Device of the evaluation; the local accelerator by default."
    )
    resume: bool = Field(
        True, description="Go on from the checkpoint in --out; --no-resume is --fresh."
    )
    accept_lost_history: bool = Field(
        False,
        description="Go on although lines of the history are lost; such a run cannot be replayed.",
    )
    commit_seconds: Positive = Field(
        30.0, description="Longest time an update waits for its commit."
    )
    commit_updates: int = Field(256, ge=1, description="Most updates that wait for a commit.")
    heartbeat_seconds: int = Field(60, ge=1, description="AMQP heartbeat.")
    chunk_bytes: int = Field(
        4 << 20, ge=1 << 10, lt=16 << 20, description="Largest body of one message."
    )
    connect_seconds: Positive = Field(
        30.0, description="How long to try to reach the broker at the start."
    )
    reconnect_seconds: Positive = Field(
        60.0, description="Longest pause between two attempts to reach the broker."
    )
    results_queue: Literal["classic", "quorum"] = Field(
        "classic",
        description="Type of the queues that the coordinator reads; quorum survives a cluster's "
        "loss of a node.",
    )
    results_bytes: int | None = Field(None, ge=1, description="Disk budget of the results queue.")
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )
    tensorboard: Path | None = Field(
        None, description="Folder for TensorBoard event files of loss, accuracy and rounds."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people or for machines."
    )

    @property
    def privacy(self) -> PrivacySettings | None:
        """The rules of a differentially private run, None for another one."""
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
