"""The settings of a check."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fanfold.coordinator.settings.training_settings import TrainingSettings
from fanfold.schemas.encodings import Encoding


def _known_encoding(value: str) -> str:
    Encoding.from_setting(value)
    return value


class CheckSettings(TrainingSettings):
    """The task that is looked at, and how it would be trained."""

    task: str = Field(
        "digits", description="What is checked: a built-in task or package.module:ClassName."
    )
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    steps: int | None = Field(
        3, ge=1, le=10_000, description="Optimizer steps that the check takes."
    )
    encoding: Annotated[str, AfterValidator(_known_encoding)] = Field(
        "float32", description="How updates would be encoded."
    )
    limit_seconds: float = Field(
        600, gt=0, description="Most that building, reading, training or evaluating may take."
    )
    device: str | None = Field(
        None, description="Device to train on; the local accelerator by default."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for programs."
    )
