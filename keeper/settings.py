"""The settings of a keeper: one frozen object, a sentence per field."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class KeeperSettings(BaseModel):
    """One keeper of masks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: Identifier = Field("fanfold", description="Name of the federation.")
    identity: Path = Field(description="Folder with the keeper's keys, from `fanfold identity`.")
    roster: Path = Field(
        description="Folder of the keeper's own roster: whose updates count toward a set."
    )
    state_dir: Path = Field(
        description="Folder of the journal: what the keeper promised. Never restore an older one."
    )
    peer: tuple[Path, ...] = Field(
        (), description="Public identity of another keeper; none, or two, of which one may be down."
    )
    masks_at_least: int = Field(
        2, ge=2, description="Fewest participants in a set whose masks are told."
    )
    max_words: int = Field(
        2**28, ge=1, le=2**40, description="Longest mask that is computed, in words of 4 bytes."
    )
    broker: tuple[str, ...] = Field(
        (),
        repr=False,
        description="Broker URL, amqp://user:password@host:port/vhost; repeatable.",
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the CAs to trust with amqps://; the system's by default."
    )
    certificate: Path | None = Field(
        None, description="PEM file of a client certificate; the login if a URL has no password."
    )
    key: Path | None = Field(None, description="PEM file of the certificate's key.")
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
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )

    @model_validator(mode="after")
    def _keepers_are_one_or_three(self) -> Self:
        if len(self.peer) not in (0, 2):
            raise InvalidInputError(
                f"there is one keeper or there are three, and --peer names {len(self.peer)} "
                "others; name none or two"
            )
        return self
