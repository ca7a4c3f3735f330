"""The settings of `fanfold status`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fanfold.coordinator.settings import Positive
from fanfold.schemas.messages import FederationName


class StatusSettings(BaseModel):
    """Which federation to look at, and how to reach its broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: FederationName = Field("fanfold", description="Name of the federation.")
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
        None, description="PEM file of a client certificate; the login if a URL has no password."
    )
    key: Path | None = Field(None, description="PEM file of the certificate's key.")
    listen_seconds: float = Field(
        11.0, ge=0, description="Most seconds to listen for: participants report every 10 seconds."
    )
    connect_seconds: Positive = Field(
        10.0, description="Seconds for which to try to reach the broker at the start."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )
