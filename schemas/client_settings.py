"""What every program that speaks to a broker is told: how to reach it, and how to log.

The sentences are the command line's help.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ClientSettings(BaseModel):
    """The broker, and the form of log lines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )


class CommandSettings(ClientSettings):
    """Of a command that asks once, and gives up soon."""

    connect_seconds: Positive = Field(
        10.0, description="Seconds for which to try to reach the broker at the start."
    )


class ServiceSettings(ClientSettings):
    """Of a program that stays: coordinator, participant, keeper."""

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
