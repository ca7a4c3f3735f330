"""All settings of the command line.

Importing this loads no torch beyond what checking them needs.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.coordinator.rounds.policy import Mode
from fanfold.coordinator.settings import CoordinatorSettings, Positive, RoundSettings
from fanfold.participant.settings import ExamplePrivacySettings, ParticipantSettings, SpeedSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier

__all__ = [
    "CoordinatorSettings",
    "ExamplePrivacySettings",
    "LocalSettings",
    "ParticipantSettings",
    "RoundSettings",
    "SimulationSettings",
    "SpeedSettings",
    "StatusSettings",
]


class LocalSettings(CoordinatorSettings, ExamplePrivacySettings):
    """A whole federation on one machine."""

    participants: int = Field(4, ge=1, description="Participants, each a process with its share.")
    min_participants: int = Field(
        4, ge=1, description="Participants that must be present before round 1; all by default."
    )
    partition: str = Field("iid", description="How the data is split: iid, shards or dirichlet:A.")
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    deadline_seconds: Positive = Field(
        60.0, description="Seconds after publication from which the quorum is enough."
    )
    state_dir: Path | None = Field(
        None, description="Folder for the participants' states; none survive a restart without."
    )
    keep_broker: bool = Field(
        False, description="Leave the private broker and its management UI running until Ctrl-C."
    )

    @model_validator(mode="before")
    @classmethod
    def _all_are_waited_for(cls, given: dict[str, Any]) -> dict[str, Any]:
        everybody = given.get("participants")
        return {"min_participants": everybody, **given} if str(everybody).isdigit() else given

    @model_validator(mode="after")
    def _round_one_can_begin(self) -> Self:
        if self.min_participants > self.participants:
            raise InvalidInputError(
                f"--min-participants {self.min_participants} would wait for ever: there are "
                f"--participants {self.participants}"
            )
        return self


class ReplaySettings(BaseModel):
    """Where a run is, and what its history cannot know: who had which data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path = Field(Path("runs/fanfold"), description="Folder of the run.")
    partition: str = Field("iid", description="How the data was split: iid, shards or dirichlet:A.")
    num_partitions: int | None = Field(
        None, ge=1, description="Into how many shares; the largest known one by default."
    )
    partition_of: tuple[str, ...] = Field(
        (), description="Who had which share, such as alice=0; repeatable. Else the name's number."
    )
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    device: str | None = Field(
        None, description="Device to train on; the local accelerator by default."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people or for machines."
    )


class SimulationSettings(BaseModel):
    """What a simulation has beside the rules of its rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: tuple[Mode | Literal["all"], ...] = Field(
        ("sync",),
        description="sync, buffered or async; repeatable, each a run of its own; or all. "
        "With several, --goal is that of buffered.",
    )
    participants: int = Field(200, ge=1, description="Simulated participants.")
    partition: str = Field("iid", description="How the data is split: iid, shards or dirichlet:A.")
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    speeds: str = Field(
        "lognormal:1.0",
        description="Times slower than the median participant: constant, uniform:A:B, "
        "lognormal:S, every:N:F (every N-th F times slower), or several joined by +.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability that a training ends without an update; its participant is away "
        "for as long again.",
    )
    example_seconds: Positive = Field(
        1.0, description="Simulated seconds that the median participant trains on one example."
    )
    simulated_hours: Positive | None = Field(
        None, description="Where each run ends, instead of after --rounds."
    )
    evaluate_seconds: Positive | None = Field(
        None, description="Simulated seconds between evaluations, instead of --evaluate-every."
    )
    out: Path = Field(
        Path("runs/simulation"), description="Folder for histories, models and the plot."
    )
    plot: bool = Field(True, description="Draw accuracy.png, which needs matplotlib.")
    device: str | None = Field(
        None, description="Device of training and evaluation; the local accelerator by default."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people or for machines."
    )

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes to run, each once, in the order of their names here."""
        known: tuple[Mode, ...] = ("sync", "buffered", "async")
        return tuple(mode for mode in known if mode in self.mode or "all" in self.mode)


class StatusSettings(BaseModel):
    """Which federation is looked at, and from where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: Identifier = Field("fanfold", description="Name of the federation.")
    broker: tuple[str, ...] = Field(
        (),
        repr=False,
        description="Broker URL, amqp://user:password@host:port/vhost; repeatable.",
    )
    management: str | None = Field(
        None,
        repr=False,
        description="Management API, http(s)://host:15672; the login is the broker's by default.",
    )
    insecure_http: bool = Field(
        False, description="Send passwords unencrypted to a management API on another machine."
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file of the CAs to trust with amqps:// and https://; the system's by "
        "default.",
    )
    certificate: Path | None = Field(
        None, description="PEM file of our own certificate; the login where a URL has no password."
    )
    key: Path | None = Field(None, description="PEM file of the certificate's key.")
    listen_seconds: float = Field(
        11.0, ge=0, description="How long to listen at most: participants report every 10 seconds."
    )
    connect_seconds: Positive = Field(
        10.0, description="How long to try to reach the broker at the start."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people or for machines."
    )
