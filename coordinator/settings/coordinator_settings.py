"""What the operator of a coordinator decides: one frozen object, a sentence per field.

The sentences are the command line's help. All mistakes are reported at once, at start-up.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from fanfold.coordinator.settings.host_settings import HostSettings, IdentitySettings
from fanfold.coordinator.settings.run_settings import RunSettings
from fanfold.schemas.errors import InvalidInputError


class HostedRoundSettings(RunSettings, HostSettings):
    """One run of a federation at a broker, whoever has the data for its evaluation."""

    out: Path = Field(Path("runs/fanfold"), description="Folder for model, history and checkpoint.")
    resume: bool = Field(
        True, description="Resume from the checkpoint in --out; --no-resume is the same as --fresh."
    )
    restored: bool = Field(
        False,
        description="--out was restored from a backup: go on from it, above all that participants "
        "have seen since.",
    )
    accept_lost_history: bool = Field(
        False,
        description="Resume although the history lost lines; the run cannot be replayed then.",
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )
    tensorboard: Path | None = Field(
        None, description="Folder for TensorBoard event files of loss, accuracy and rounds."
    )

    @model_validator(mode="after")
    def _a_backup_is_resumed(self) -> Self:
        if self.restored and not self.resume:
            raise InvalidInputError(
                "--restored goes on from the backup in --out, and --fresh begins anew; "
                "leave one of them out"
            )
        return self


class CoordinatorSettings(HostedRoundSettings, IdentitySettings):
    """One coordinator."""
