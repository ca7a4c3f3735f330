"""The settings of a whole federation on one machine."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from fanfold.coordinator.settings import HostedRoundSettings
from fanfold.participant.data_folders import participants_of, share_of
from fanfold.participant.settings import ExamplePrivacySettings
from fanfold.schemas.client_settings import Positive
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.keeper_messages import KEEPER_COUNTS


class LocalSettings(HostedRoundSettings, ExamplePrivacySettings):
    """A whole federation on one machine."""

    participants: int = Field(
        4,
        ge=1,
        description="Number of participants, each a process with its share of the data; with "
        "several --data as many as these.",
    )
    min_participants: int = Field(
        4, ge=1, description="Participants that must be present before round 1; all by default."
    )
    partition: str = Field("iid", description="How the data is split: iid, shards or dirichlet:A.")
    data: tuple[Path, ...] = Field(
        (),
        description="Folder of the data, given to the task. Repeatable: then each is that of one "
        "participant, which is named after it.",
    )
    test_data: Path | None = Field(
        None,
        description="Folder of the held-out data, given to the coordinator's task; by default that "
        "of a single --data.",
    )
    deadline_seconds: Positive = Field(
        60.0, description="Seconds after publication from which the quorum is enough."
    )
    state_dir: Path | None = Field(
        None, description="Folder for the participants' states; without it a restart loses them."
    )
    keepers: int = Field(
        0,
        ge=0,
        le=3,
        description="Start so many keepers of masks, 1 or 3, and mask all updates; sets --encoding "
        "fixed.",
    )
    keep_broker: bool = Field(
        False, description="Leave the private broker and its management UI running until Ctrl-C."
    )

    page: bool = Field(
        False,
        description="Show the run in a browser as it goes, until Ctrl-C; prints the address.",
    )
    page_port: int = Field(0, ge=0, le=65_535, description="Port of --page; a free one by default.")

    sealed: bool = Field(
        False,
        description="Seal and sign all messages, with keys that are made for the purpose in --out.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The participants' ids, in the order of their shares of the data or of their folders."""
        if self._has_own_folders:
            return participants_of(self.data)
        return tuple(f"participant-{index}" for index in range(self.participants))

    @property
    def is_masked(self) -> bool:
        """Whether nobody sees a single update."""
        return self.keepers > 0

    @property
    def held_out_folder(self) -> Path | None:
        """The folder of the coordinator's task."""
        return self.test_data or (self.data[0] if len(self.data) == 1 else None)

    def share_of(self, index: int) -> dict[str, Any]:
        """Return the settings of `ParticipantSettings` that say which data a participant has."""
        return share_of(
            index, self.data, partition=self.partition, num_partitions=self.participants
        )

    @property
    def _has_own_folders(self) -> bool:
        return len(self.data) > 1

    @model_validator(mode="before")
    @classmethod
    def _all_are_waited_for(cls, given: dict[str, Any]) -> dict[str, Any]:
        if len(given.get("data", ())) > 1:
            given = {"participants": len(given["data"]), **given}
        if str(given.get("keepers", 0)) != "0":
            given = {"encoding": "fixed", **given}
        everybody = given.get("participants")
        return {"min_participants": everybody, **given} if str(everybody).isdigit() else given

    @model_validator(mode="after")
    def _keepers_are_one_or_three(self) -> Self:
        if self.keepers not in (0, *KEEPER_COUNTS):
            raise InvalidInputError(
                "with --keepers 2 both would have to be up; choose 1, or 3 of which one may be down"
            )
        return self

    @model_validator(mode="after")
    def _round_one_can_begin(self) -> Self:
        if self.min_participants > self.participants:
            raise InvalidInputError(
                f"--min-participants {self.min_participants} would wait for ever: there are "
                f"--participants {self.participants}"
            )
        return self

    @model_validator(mode="after")
    def _every_folder_has_a_participant(self) -> Self:
        if not self._has_own_folders:
            return self
        if self.participants != len(self.data):
            raise InvalidInputError(
                f"--participants {self.participants} contradicts the {len(self.data)} folders of "
                "--data, each of which has one; leave --participants out"
            )
        if "partition" in self.model_fields_set:
            raise InvalidInputError(
                "--partition splits one folder among all participants, and with several --data "
                "each has its own; leave --partition out"
            )
        participants_of(self.data)
        return self
