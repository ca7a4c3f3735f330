"""The settings of a keeper: one frozen object, a sentence per field."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from fanfold.schemas.client_settings import ServiceSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier


class KeeperSettings(ServiceSettings):
    """One keeper of masks."""

    federation: Identifier = Field("fanfold", description="Name of the federation.")
    identity: Path = Field(description="Folder with the keeper's keys, from `fanfold identity`.")
    roster: Path = Field(
        description="Folder of the keeper's own roster: whose updates count toward a set."
    )
    state_dir: Path = Field(
        description="Folder of the journal: what the keeper promised. Never restore an older one."
    )
    peer: tuple[Path, ...] = Field(
        (), description="Public identity of another keeper; none, or two, of which one may be down."
    )
    masks_at_least: int = Field(
        2, ge=2, description="Fewest participants in a set whose masks are told."
    )
    max_words: int = Field(
        2**28, ge=1, le=2**40, description="Longest mask that is computed, in words of 4 bytes."
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )

    @model_validator(mode="after")
    def _keepers_are_one_or_three(self) -> Self:
        if len(self.peer) not in (0, 2):
            raise InvalidInputError(
                f"there is one keeper or there are three, and --peer names {len(self.peer)} "
                "others; name none or two"
            )
        return self
