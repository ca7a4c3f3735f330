"""How a coordinator reaches its broker and its participants, whatever it trains."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fanfold.coordinator.settings.checks import TRACK
from fanfold.schemas.client_settings import Positive, ServiceSettings
from fanfold.schemas.messages import FederationName


class HostSettings(ServiceSettings):
    """The place of a federation: its broker, its logins, its limits."""

    federation: FederationName = Field("fanfold", description="Name of the federation.")
    shared_login: tuple[str, ...] = Field(
        (), description="Broker login that participants share, under any id; repeatable."
    )
    max_participants: int = Field(
        10_000, ge=1, description="Most participants that may use one shared login."
    )
    require_login: bool = Field(
        False,
        description="Accept a participant's id only if it is its broker login; always so with "
        "--credentials. Otherwise participants may also use the coordinator's own login.",
    )
    device: str | None = Field(
        None, description="Device of the evaluation; the local accelerator by default."
    )
    commit_seconds: Positive = Field(
        30.0, description="Longest time in seconds that an update waits for its commit."
    )
    commit_updates: int = Field(256, ge=1, description="Most updates that wait for a commit.")
    results_queue: Literal["classic", "quorum"] = Field(
        "classic",
        description="Type of the queues that the coordinator reads; quorum queues survive the loss "
        "of a node of a cluster.",
    )
    results_bytes: int | None = Field(
        None, ge=1, description="Most bytes in the results queue; no limit by default."
    )
    track: tuple[Annotated[str, TRACK], ...] = Field(
        (),
        description="Experiment tracker that gets settings and metrics: mlflow:FOLDER, "
        "mlflow:http://HOST:PORT, wandb or wandb:PROJECT; repeatable.",
    )


class IdentitySettings(BaseModel):
    """The coordinator's own keys and data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
