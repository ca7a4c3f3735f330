"""The settings of commands that read a run's folder."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanfold.participant.data_folders import participants_of
from fanfold.schemas.errors import InvalidInputError

TableName = Literal["rounds", "updates"]
"""A row for each round, or for each update."""


class ReplaySettings(BaseModel):
    """The folder of a run, and what its history does not hold: which participant had which data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path = Field(Path("runs/fanfold"), description="Folder of the run.")
    partition: str = Field("iid", description="How the data was split: iid, shards or dirichlet:A.")
    num_partitions: int | None = Field(
        None,
        ge=1,
        description="How many shares the data was split into; by default the largest one's number "
        "plus 1.",
    )
    partition_of: tuple[str, ...] = Field(
        (),
        description="Which share a participant had, such as alice=0; repeatable. By default the "
        "number at the end of its id.",
    )
    data: tuple[Path, ...] = Field(
        (),
        description="Folder of the data, given to the task. Repeatable, as for `fanfold local`: "
        "then each is that of the participant which is named after it.",
    )
    device: str | None = Field(
        None, description="Device to train on; the local accelerator by default."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )

    @model_validator(mode="after")
    def _folders_or_shares(self) -> Self:
        if len(self.data) > 1:
            shares = self.model_fields_set & {"partition", "num_partitions", "partition_of"}
            if shares:
                names = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(shares))
                raise InvalidInputError(
                    f"with several --data each participant has its own folder; leave {names} out"
                )
            participants_of(self.data)
        return self


class ExportSettings(BaseModel):
    """Which table of a run is written, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["csv", "parquet"] = Field(
        "csv", description="csv, or parquet, which keeps types and needs pyarrow."
    )
    table: TableName = Field(
        "rounds", description="A row for each of the rounds, or of the updates in them."
    )
    out: Path | None = Field(
        None, description="File to write; by default rounds.csv or its like in the run's folder."
    )
    mlflow: str | None = Field(
        None,
        description="Write into MLflow instead, settings, metrics, models and lineage: a folder "
        "for its database and files, or http://HOST:PORT of a tracking server.",
    )

    @model_validator(mode="after")
    def _a_table_or_mlflow(self) -> Self:
        table = self.model_fields_set & {"format", "table", "out"}
        if self.mlflow is not None and table:
            names = " and ".join(f"--{name}" for name in sorted(table))
            raise InvalidInputError(f"--mlflow writes no table; leave {names} out")
        return self
