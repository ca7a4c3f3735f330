"""The settings of a whole federation on one machine."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from fanfold.coordinator.settings import CoordinatorSettings, Positive
from fanfold.participant.settings import ExamplePrivacySettings
from fanfold.schemas.errors import InvalidInputError


class LocalSettings(CoordinatorSettings, ExamplePrivacySettings):
    """A whole federation on one machine."""

    participants: int = Field(
        4, ge=1, description="Number of participants, each a process with its share of the data."
    )
    min_participants: int = Field(
        4, ge=1, description="Participants that must be present before round 1; all by default."
    )
    partition: str = Field("iid", description="How the data is split: iid, shards or dirichlet:A.")
    data: Path | None = Field(None, description="Folder of the data, given to the task.")
    deadline_seconds: Positive = Field(
        60.0, description="Seconds after publication from which the quorum is enough."
    )
    state_dir: Path | None = Field(
        None, description="Folder for the participants' states; without it a restart loses them."
    )
    keep_broker: bool = Field(
        False, description="Leave the private broker and its management UI running until Ctrl-C."
    )

    @model_validator(mode="before")
    @classmethod
    def _all_are_waited_for(cls, given: dict[str, Any]) -> dict[str, Any]:
        everybody = given.get("participants")
        return {"min_participants": everybody, **given} if str(everybody).isdigit() else given

    @model_validator(mode="after")
    def _round_one_can_begin(self) -> Self:
        if self.min_participants > self.participants:
            raise InvalidInputError(
                f"--min-participants {self.min_participants} would wait for ever: there are "
                f"--participants {self.participants}"
            )
        return self
