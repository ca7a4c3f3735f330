"""The settings of commands that ask `fanfold serve` for something."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fanfold.coordinator.settings import Positive
from fanfold.schemas.messages import Identifier


class OperatorSettings(BaseModel):
    """Which service to ask, and how to reach its broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: Identifier = Field("fanfold", description="Name of the federation.")
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
    connect_seconds: Positive = Field(
        10.0, description="Seconds for which to try to reach the broker at the start."
    )
    answer_seconds: Positive = Field(
        30.0, description="Seconds for which to wait for the answer of `fanfold serve`."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )
