"""The settings of `fanfold serve`."""

from pathlib import Path

from pydantic import Field

from fanfold.coordinator.settings import HostSettings, IdentitySettings
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
