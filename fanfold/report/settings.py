"""The settings of a report."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ReportSettings(BaseModel):
    """Where a report is written, and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path | None = Field(
        None, description="Folder to write to, made if need be; by default the run's own."
    )
    plot: bool = Field(True, description="Draw report.png, too, where matplotlib is installed.")
