"""Where the page is served, and to whom."""

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.schemas.errors import InvalidInputError

PORT = 8600
LOOPBACK = "127.0.0.1"


class PageSettings(BaseModel):
    """The address of the page, and what protects it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(PORT, ge=0, le=65_535, description="Port of the page; 0 takes a free one.")
    host: str = Field(
        LOOPBACK,
        description="Address of this machine at which the page answers; others than the loopback "
        "interface's take --users, --certificate and --key.",
    )
    users: Path | None = Field(
        None, description="File of `fanfold page-user`: only its users may look, after a login."
    )
    certificate: Path | None = Field(
        None, description="PEM file of the page's certificate, for https."
    )
    key: Path | None = Field(None, description="PEM file of the certificate's key.")

    @model_validator(mode="after")
    def _others_find_it_protected(self) -> Self:
        check_protection(
            self.host, users=self.users, certificate=self.certificate, key=self.key, prefix=""
        )
        return self


def check_protection(
    host: str, *, users: Path | None, certificate: Path | None, key: Path | None, prefix: str
) -> None:
    """See that a page which others reach has a login and TLS.

    Args:
        host: where it answers.
        users: the file of those who may log in.
        certificate: for TLS.
        key: likewise.
        prefix: of the options, for what is said.

    Raises:
        InvalidInputError: if something is missing.
    """
    if (certificate is None) != (key is None):
        raise InvalidInputError(f"--{prefix}certificate and --{prefix}key belong together")
    given = {"users": users, "certificate": certificate, "key": key}
    missing = [f"--{prefix}{name}" for name, path in given.items() if path is None]
    if not is_loopback(host) and missing:
        raise InvalidInputError(
            f"--{prefix}host {host} lets other machines reach the page, where passwords would "
            f"travel in the clear or nobody is asked for one: name {' and '.join(missing)}, or "
            f"leave --{prefix}host out and use an SSH tunnel"
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
