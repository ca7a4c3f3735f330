"""The settings of a participant: one frozen object, a sentence per field."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.participant.open_runs.allowed import Allowed
from fanfold.schemas.client_settings import Positive, ServiceSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.keeper_messages import check_keepers
from fanfold.schemas.messages import FederationName, Identifier
from fanfold.schemas.names import FederationNames

UNCLAIMED = "unclaimed"
"""The id of a replica that has not claimed a slot yet."""


class SpeedSettings(BaseModel):
    """How fast a participant trains, and with how much of its device's memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device_memory_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Fraction of the accelerator's memory that a participant may use.",
    )
    autocast: bool = Field(False, description="Compute under bfloat16 autocast.")
    channels_last: bool = Field(
        False, description="Store images in memory as NHWC, the fastest layout for tensor cores."
    )
    compile: bool = Field(
        False, description="Compile the network: a slow first step, faster ones after it."
    )
    cuda_graphs: bool = Field(
        False,
        description="Record a step as a CUDA graph and replay it: small networks train several "
        "times faster; a step must not depend on values that Python reads.",
    )
    loader_workers: int = Field(
        0, ge=0, description="Processes that load a dataset which is not made of tensors."
    )


class ExamplePrivacySettings(SpeedSettings):
    """Differential privacy for single examples (DP-SGD), which each participant chooses itself."""

    dp_sgd_clip: Positive | None = Field(
        None, description="DP-SGD: largest L2 norm of one example's gradient; with --dp-sgd-noise."
    )
    dp_sgd_noise: float | None = Field(
        None,
        ge=1e-3,  # less gives no privacy
        allow_inf_nan=False,
        description="DP-SGD: standard deviation of a step's noise, as a multiple of --dp-sgd-clip.",
    )
    dp_sgd_delta: float = Field(
        1e-5, gt=0, lt=1, description="The delta at which the epsilon of DP-SGD is reported."
    )

    @model_validator(mode="after")
    def _dp_sgd_is_possible(self) -> Self:
        if (self.dp_sgd_clip is None) != (self.dp_sgd_noise is None):
            raise InvalidInputError(
                "--dp-sgd-clip and --dp-sgd-noise only mean something together; give both"
            )
        names = ("autocast", "compile", "cuda_graphs", "loader_workers")
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name)]
        if self.dp_sgd_clip is not None and given:
            raise InvalidInputError(
                f"--dp-sgd-clip finds the gradient of each example and does not go with "
                f"{', '.join(given)}"
            )
        return self


class ParticipantSettings(ExamplePrivacySettings, ServiceSettings):
    """One participant."""

    federation: FederationName = Field("fanfold", description="Name of the federation.")
    id: Identifier = Field(description="This participant's id, unique in the federation.")
    task: str = Field(
        "digits", description="What is trained: a built-in task or package.module:ClassName."
    )
    allow: tuple[str, ...] = Field(
        (),
        description="Instead of --task: take part in every run of this task that `fanfold serve` "
        "opens; TASK@sha256:HASH allows this code alone, see `fanfold check`; repeatable.",
    )
    data: Path | None = Field(None, description="Folder of the private data, given to the task.")
    slots: int | None = Field(
        None,
        ge=1,
        description="Instead of --id: take the first free of this many slots; each is an id and a "
        "share of the data, or of the share that --partition-index names.",
    )
    partition: str = Field(
        "iid", description="How shared data is split in experiments: iid, shards, dirichlet:A."
    )
    partition_index: int = Field(
        0, ge=0, description="Which share of the data this participant has, counted from 0."
    )
    num_partitions: int = Field(1, ge=1, description="How many shares the data is split into.")
    seed: int = Field(0, ge=0, description="Seed of the partitions; the same for all participants.")
    state_dir: Path | None = Field(
        None,
        description="Folder for the last update, private tensors and what top-k left out so far; "
        "with --allow a folder below it for each run.",
    )
    device: str | None = Field(
        None, description="Device to train on; the local accelerator by default."
    )
    identity: Path | None = Field(
        None,
        description="Folder with this participant's keys, from `fanfold identity`: all messages "
        "are sealed, and signed by their senders.",
    )
    coordinator_identity: str | None = Field(
        None,
        description="The line in the coordinator's identity.pub, or that file; it is in the "
        "credentials of `fanfold enroll --identity`.",
    )
    sealed: bool = Field(
        False, description="Take part only where all messages are sealed; so with --identity."
    )
    masks: tuple[Path, ...] = Field(
        (),
        description="Public identity of a keeper of masks, once or three times: updates are "
        "masked, and those of runs without these keepers are not sent.",
    )
    mask_identity: Path | None = Field(
        None,
        description="Folder with this participant's keys, from `fanfold identity`, which sign the "
        "seeds of its masks.",
    )
    once: bool = Field(
        False, description="Leave when the run finishes, instead of waiting for the next one."
    )
    progress_seconds: Positive = Field(
        10.0, le=3600, description="Seconds between two reports of progress to the coordinator."
    )
    grace_seconds: float = Field(
        10.0,
        ge=0,
        description="Seconds for which a training may go on after SIGTERM before it is abandoned.",
    )
    heartbeat_seconds: int = Field(
        60, ge=1, description="AMQP heartbeat; ?heartbeat= in a broker URL takes precedence."
    )
    chunk_bytes: int = Field(
        4 << 20,
        ge=1 << 10,
        lt=16 << 20,
        description="Largest body of one message, in bytes; the coordinator refuses less than the "
        "smaller of 64 KiB and its own --chunk-bytes.",
    )
    max_bytes_per_second: int | None = Field(
        None,
        ge=10_000,
        description="Most bytes per second up, and as many down, for a line that others share.",
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )

    @model_validator(mode="after")
    def _what_is_spent_is_kept(self) -> Self:
        if self.dp_sgd_clip is not None and self.state_dir is None:
            raise InvalidInputError(
                "what --dp-sgd-noise has spent must outlive a restart; name a folder with "
                "--state-dir"
            )
        return self

    @model_validator(mode="after")
    def _masks_are_signed(self) -> Self:
        check_keepers(self.masks)
        if bool(self.masks) != (self.mask_identity is not None):
            raise InvalidInputError(
                "--masks and --mask-identity only mean something together; give both"
            )
        return self

    @model_validator(mode="after")
    def _runs_are_named(self) -> Self:
        for text in self.allow:
            Allowed.parse(text)
        if self.allow and self.once:
            raise InvalidInputError(
                "--once leaves at the end of a run, and --allow stays for others; leave one out"
            )
        if self.allow and FederationNames.of(self.federation).run is not None:
            raise InvalidInputError(
                f"--allow takes part in the runs of a federation, and {self.federation} is one of "
                "them; leave the run out"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _allow_or_task(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse `allow` together with a task: each run names its own."""
        if given.get("allow") and "task" in given:
            raise ValueError("--allow replaces --task; leave one of the two out")
        return given

    @model_validator(mode="before")
    @classmethod
    def _slot_or_id(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse `slots` together with an id, which a slot gives."""
        if given.get("slots") is None:
            return given
        if "id" in given:
            raise ValueError("--slots replaces --id; leave one of the two out")
        return {"id": UNCLAIMED, **given}
