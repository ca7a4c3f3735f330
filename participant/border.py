"""A participant's border from its settings: in clear, or sealed for one coordinator."""

from pathlib import Path

from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.timestamps import Clock
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.participant_border import ParticipantBorder


def border_of(settings: ParticipantSettings, clock: Clock | None) -> Border:
    """Return what the participant's messages cross.

    Raises:
        InvalidInputError: if one of the two sides' keys is missing, or damaged.
    """
    pinned = settings.coordinator_identity
    if settings.identity is None and pinned is None and not settings.sealed:
        return IN_CLEAR
    if settings.identity is None:
        raise InvalidInputError(
            "this federation seals its messages; make keys with `fanfold identity DIR`, have them "
            "enrolled, and name them with --identity DIR"
        )
    if pinned is None:
        raise InvalidInputError(
            "--identity needs to know the coordinator's; name its identity.pub with "
            "--coordinator-identity, or credentials of `fanfold enroll --identity`"
        )
    if clock is None:
        raise ValueError("a sealed participant needs a clock")
    is_line = ":" in pinned
    return ParticipantBorder(
        Identity.read(settings.identity),
        coordinator=PublicIdentity.parse(pinned) if is_line else PublicIdentity.read(Path(pinned)),
        participant=settings.id,
        federation=settings.federation,
        first_serial=int(clock().timestamp() * 1e6),
    )
