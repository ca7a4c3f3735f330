"""The settings of `fanfold status`."""

from pathlib import Path

from pydantic import Field

from fanfold.schemas.client_settings import CommandSettings
from fanfold.schemas.messages import FederationName


class StatusSettings(CommandSettings):
    """Which federation to look at, and how to reach its broker."""

    federation: FederationName = Field("fanfold", description="Name of the federation.")
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
    listen_seconds: float = Field(
        11.0, ge=0, description="Most seconds to listen for: participants report every 10 seconds."
    )
