"""The settings of a region: one frozen object, a sentence per field."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fanfold.access.credentials import Credentials
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.coordinator.settings.checks import ENCODING_DOWN
from fanfold.participant.settings import ParticipantSettings
from fanfold.region.upstream_options import UPSTREAM, named_as_upstream
from fanfold.schemas.client_settings import Positive, ServiceSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import FederationName, GlobalParameters, Identifier
from fanfold.schemas.region_names import task_of

BELOW = (
    *("federation", "broker", "ca_file", "certificate", "key", "identity", "roster", "log_format"),
    *("heartbeat_seconds", "chunk_bytes", "reconnect_seconds"),
    *("min_participants", "goal", "quorum", "deadline_seconds", "encoding_down"),
    *("max_examples", "max_update_norm", "max_buffer_norm", "max_region_updates"),
    *("shared_login", "require_login"),
)
"""What the coordinator below is told as it stands here."""
ABOVE = (
    *("log_format", "heartbeat_seconds", "chunk_bytes", "connect_seconds", "reconnect_seconds"),
    "max_bytes_per_second",
)
"""The same of the participant above."""


class RegionSettings(ServiceSettings):
    """One region."""

    upstream_federation: FederationName = Field(
        "fanfold", description="Federation that the region takes part in."
    )
    id: Identifier = Field(description="The region's id there, as a participant.")
    upstream_broker: tuple[str, ...] = Field(
        (), repr=False, description="Broker URL of that federation; repeatable."
    )
    upstream_ca_file: Path | None = Field(
        None, description="PEM file of the CAs to trust with that broker; the system's by default."
    )
    upstream_identity: Path | None = Field(
        None, description="Folder with the region's keys as a participant: messages are sealed."
    )
    upstream_coordinator_identity: str | None = Field(
        None, description="The line in the identity.pub of the coordinator above, or that file."
    )
    max_version_bytes: int = Field(
        16 << 30,
        ge=1 << 10,
        description="Largest version in bytes that is taken from above: a region has no network "
        "that says how large one is.",
    )
    max_bytes_per_second: int | None = Field(
        None,
        ge=10_000,
        description="Most bytes per second up to the broker above, and as many down from it.",
    )
    federation: FederationName = Field(
        "region", description="Federation whose rounds the region coordinates."
    )
    out: Path = Field(
        Path("runs/region"), description="Folder for what is not sent up yet, and all histories."
    )
    min_participants: int = Field(
        1, ge=1, description="Participants that must be present before the first round."
    )
    goal: Literal["all"] | Annotated[int, Field(ge=1)] | None = Field(
        None, description="Updates that close a round: all (the default), or a number."
    )
    quorum: int = Field(
        1, ge=1, description="Fewest updates with which the deadline may close a round."
    )
    deadline_seconds: Positive = Field(
        300.0,
        description="Seconds after publication from which the quorum is enough; less than above, "
        "where this region is waited for.",
    )
    encoding_down: Annotated[str, ENCODING_DOWN] = Field(
        "float32",
        description="Encoding of versions, from the region to its participants, however they came: "
        "float32, float16, bfloat16, int8, or difference:ENCODING.",
    )
    max_examples: int | None = Field(
        None, ge=1, description="Most examples that an update may claim; no limit by default."
    )
    max_update_norm: Positive | None = Field(
        None, description="Largest L2 norm of an update; by default only extreme ones are refused."
    )
    max_buffer_norm: Positive | None = Field(
        None, description="Largest L2 norm of a floating buffer of an update; likewise."
    )
    max_region_updates: int | None = Field(
        None,
        ge=1,
        description="Most participants whose updates a region below may send as one sum; by "
        "default there are none.",
    )
    identity: Path | None = Field(
        None, description="Folder with the region's keys as a coordinator: messages are sealed."
    )
    roster: Path | None = Field(
        None, description="Folder of the roster below: whose keys count; --identity by default."
    )
    shared_login: tuple[str, ...] = Field(
        (), description="Broker login that participants share, under any id; repeatable."
    )
    require_login: bool = Field(
        False,
        description="Accept a participant's id only if it is its broker login; always so with "
        "--credentials. Otherwise participants may also use the region's own login.",
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="Port of /metrics, /health and /ready; none by default."
    )

    @model_validator(mode="after")
    def _there_is_a_broker_above(self) -> Self:
        if not self.upstream_broker:
            raise InvalidInputError(
                "name the broker of the federation above with --upstream-broker or "
                "FANFOLD_UPSTREAM_BROKER_URL, or the region's login there with "
                "--upstream-credentials"
            )
        return self

    @model_validator(mode="after")
    def _there_are_two_federations(self) -> Self:
        here = (set(self.broker), self.federation)
        if here == (set(self.upstream_broker), self.upstream_federation):
            raise InvalidInputError(
                "a region stands between two federations, and --federation at --broker is the one "
                "of --upstream-federation; name another"
            )
        return self

    def above(self) -> ParticipantSettings:
        """Return the settings of the participant that the region is above."""
        given: dict[str, Any] = {name: getattr(self, name) for name in ABOVE}
        return ParticipantSettings(
            **given,
            federation=self.upstream_federation,
            id=self.id,
            broker=self.upstream_broker,
            ca_file=self.upstream_ca_file,
            identity=self.upstream_identity,
            coordinator_identity=self.upstream_coordinator_identity,
            state_dir=self.out / "above",
            grace_seconds=0,  # the round that is open goes on after the next start
        )

    def below(self, message: GlobalParameters) -> CoordinatorSettings:
        """Return the settings of the coordinator that the region is below, for one run."""
        given: dict[str, Any] = {name: getattr(self, name) for name in BELOW}
        return CoordinatorSettings(
            **given,
            task=task_of(self.id, self.upstream_federation),
            rounds=message.rounds,
            out=self.out / message.run,
            connect_seconds=TIMEOUT_MAX,  # its login was tried at the start: a run waits for it
            when_all_refused="wait",
        )


def with_credentials_above(options: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """Return a region's options, completed by its credentials for the federation above.

    Args:
        options: by name.
        path: a file that `fanfold enroll` made for a participant; None completes nothing.

    Raises:
        InvalidInputError: if an option contradicts the file.
    """
    if path is None:
        return dict(options)
    names = {"id": "id", **{f"upstream_{name}": name for name in UPSTREAM}}
    given = {
        name: options[option] for option, name in names.items() if options.get(option) is not None
    }
    with named_as_upstream():
        told = Credentials.read(path, role="participant").options(given)
    refused = sorted({"certificate", "key"} & told.keys())
    if refused:
        raise InvalidInputError(
            f"{path} has a client certificate, and a region takes part above with a password; "
            "enrol it with one"
        )
    return {**options, **{option: told.get(name) for option, name in names.items()}}


def rereading_above(
    settings: RegionSettings, options: Mapping[str, Any], path: Path | None
) -> Callable[[], ParticipantSettings] | None:
    """Return a function that reads the credentials above once more; None without such a file.

    It raises InvalidInputError if that file cannot be used now, or is for somebody else.

    Args:
        settings: of the region, as it was started.
        options: by name, from which they come.
        path: a file that `fanfold enroll` made for a participant.
    """
    if path is None:
        return None
    same = {"id": settings.id, "upstream_federation": settings.upstream_federation}

    def reread() -> ParticipantSettings:
        told = with_credentials_above({**options, **same}, path)
        return settings.model_copy(update={"upstream_broker": told["upstream_broker"]}).above()

    return reread
