"""The settings of `fanfold serve`."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from fanfold.coordinator.settings import HostSettings, IdentitySettings
from fanfold.page.settings import LOOPBACK, check_protection
from fanfold.schemas.messages import Identifier
from fanfold.schemas.run_messages import MAX_OPEN_RUNS


class ServeSettings(HostSettings, IdentitySettings):
    """A resident coordinator, and what all of its runs have in common."""

    federation: Identifier = Field("fanfold", description="Name of the federation.")
    out: Path = Field(
        Path("runs/service"),
        description="Folder of the registry, with a folder for each run and its models.",
    )
    parallel_runs: int = Field(
        1, ge=1, le=MAX_OPEN_RUNS, description="Most runs that are open at a time."
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )
    page_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of the page in a browser; none by default."
    )
    page_host: str = Field(
        LOOPBACK,
        description="Address of this machine at which the page answers; others than the loopback "
        "interface's take --page-users, --page-certificate and --page-key.",
    )
    page_users: Path | None = Field(
        None,
        description="File of `fanfold page-user`; by default one in --out, with an operator whose "
        "password is made at the first start.",
    )
    page_certificate: Path | None = Field(
        None, description="PEM file of the page's certificate, for https."
    )
    page_key: Path | None = Field(None, description="PEM file of that certificate's key.")
    page_management: str | None = Field(
        None,
        repr=False,
        description="RabbitMQ's management API with the login of an administrator, so that the "
        "page can revoke participants; its password may stand in FANFOLD_MANAGEMENT_PASSWORD.",
    )

    @model_validator(mode="after")
    def _others_find_the_page_protected(self) -> Self:
        check_protection(
            self.page_host,
            users=self.page_users,
            certificate=self.page_certificate,
            key=self.page_key,
            prefix="page-",
        )
        return self
