"""The settings of a replay."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ReplaySettings(BaseModel):
    """Where a run is, and what its history cannot know: who had which data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path = Field(Path("runs/fanfold"), description="Folder of the run.")
    partition: str = Field("iid", description="How the data was split: iid, shards or dirichlet:A.")
    num_partitions: int | None = Field(
        None, ge=1, description="Into how many shares; the largest known one by default."
    )
    partition_of: tuple[str, ...] = Field(
        (), description="Who had which share, such as alice=0; repeatable. Else the name's number."
    )
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    device: str | None = Field(
        None, description="Device to train on; the local accelerator by default."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people or for machines."
    )
