"""What the operator of a coordinator decides: one frozen object, a sentence per field.

The sentences are the command line's help. All mistakes are reported at once, at start-up.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fanfold.coordinator.aggregation.privacy_settings import PrivacySettings, privacy_settings
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.rounds.policy import (
    DEFAULT_GOALS,
    DEFAULT_MAX_STALENESS,
    Mode,
    RoundPolicy,
)
from fanfold.schemas.encodings import Encoding
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier, TrainingPlan


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Let a check of ours tell its sentence beside those of all other fields."""

    def validate(value: str) -> str:
        try:
            check(value)
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(validate)


def _check_server_optimizer(spec: str) -> None:
    from fanfold.coordinator.aggregation.server_optimizer import parse_optimizer  # noqa: PLC0415 - torch: not for --help

    parse_optimizer(spec)


def _check_encoding_down(setting: str) -> None:
    if Encoding.from_setting(setting).fraction is not None:
        raise InvalidInputError(
            f"global parameters cannot travel as {setting}, which leaves values out; "
            "choose float32, float16, bfloat16 or int8"
        )


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainingSettings(BaseModel):
    """How participants train; travels with every version. The bounds are `TrainingPlan`'s."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(1, ge=0, le=10_000, description="Passes over the private data in a round.")
    steps: int | None = Field(
        None, ge=0, le=10_000_000, description="Optimizer steps in a round, instead of --epochs."
    )
    batch_size: int = Field(32, ge=1, le=1_000_000, description="Examples in a batch.")
    lr: float = Field(
        0.05, ge=0, allow_inf_nan=False, description="Learning rate of the local optimizer."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the local SGD.")
    optimizer: str = Field(
        "sgd",
        pattern=r"^[A-Za-z]{1,32}$",
        description="Local optimizer: a torch.optim class, such as sgd or adam.",
    )
    proximal_mu: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Weight of FedProx's proximal term."
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="The run's seed: initial network, partitions, training."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of each participant's training."
    )

    def plan(self) -> TrainingPlan:
        """Return the plan that travels with every version."""
        names = TrainingPlan.model_fields
        return TrainingPlan(**{name: getattr(self, name) for name in names})


class RoundSettings(TrainingSettings):
    """When rounds close and what they make of the updates."""

    task: str = Field(
        "digits", description="What is trained: a built-in task or package.module:ClassName."
    )
    rounds: int = Field(20, ge=0, le=2**53, description="Rounds until the run ends.")
    mode: Mode = Field("sync", description="Name for a goal: sync (all), buffered (3), async (1).")
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
        None, ge=0, description="Largest staleness that is folded; 0 in sync mode, else 20."
    )
    staleness: Annotated[str, _checked(parse_staleness)] = Field(
        "polynomial:0.5",
        description="Weight of stale updates: constant, polynomial:A or hinge:A:B.",
    )
    server_optimizer: Annotated[str, _checked(_check_server_optimizer)] = Field(
        "sgd:lr=1", description="Step of the centre, such as sgd:lr=1,momentum=0.9 or adam:lr=0.01."
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
    encoding: Annotated[str, _checked(Encoding.from_setting)] = Field(
        "float32", description="How updates are encoded on their way up."
    )
    encoding_down: Annotated[str, _checked(_check_encoding_down)] = Field(
        "float32", description="How global parameters are encoded on their way down."
    )
    initial: Path | None = Field(None, description="Begin from this safetensors file.")

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
