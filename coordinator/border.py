"""The coordinator's border from its settings: in clear, or sealed for whoever is on the roster."""

from collections.abc import Set as AbstractSet

from fanfold.coordinator.admission.sender_check import SenderCheck
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.border import IN_CLEAR, CoordinatorsBorder
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import (
    ParticipantJoined,
    ParticipantLeft,
    ParticipantRefused,
    ParticipantSilent,
)
from fanfold.schemas.events.event import Event, Say
from fanfold.schemas.timestamps import Clock
from fanfold.sealing.audit_trail import AuditTrail
from fanfold.sealing.coordinator_border import CoordinatorBorder
from fanfold.sealing.identity import Identity
from fanfold.sealing.roster import RosterFile
from fanfold.sealing.run_keys import RunKeys

_NEWS = {
    ParticipantJoined: "joined",
    ParticipantLeft: "left",
    ParticipantSilent: "silent",
    ParticipantRefused: "refused",
}


def border_of(settings: CoordinatorSettings) -> CoordinatorsBorder:
    """Return what the coordinator's messages cross.

    Raises:
        InvalidInputError: if there are no keys where there must be, or they are damaged.
    """
    if settings.identity is None:
        if settings.sealed or settings.roster is not None:
            raise InvalidInputError(
                "--sealed and --roster need the coordinator's keys; make them with "
                "`fanfold identity DIR` and name them with --identity DIR"
            )
        return IN_CLEAR
    return CoordinatorBorder(
        Identity.read(settings.identity),
        roster=RosterFile(settings.roster or settings.identity),
        keys=RunKeys(settings.out),
        federation=settings.federation,
    )


def sender_check_of(
    settings: CoordinatorSettings, our_logins: AbstractSet[str], border: CoordinatorsBorder
) -> SenderCheck:
    """Return who may speak for whom: with `--require-login` our own logins are not shared."""
    shared = frozenset() if settings.require_login else our_logins
    return SenderCheck({*settings.shared_login, *shared}, border)


def audited(settings: CoordinatorSettings, clock: Clock | None, say: Say) -> Say:
    """Return what tells people, and writes into the audit trail who comes and goes."""
    if settings.identity is None or clock is None:
        return say
    trail = AuditTrail(settings.roster or settings.identity, clock, by="coordinator")

    def tell(event: Event) -> None:
        news = _NEWS.get(type(event))
        if news is not None:
            trail.note(news, getattr(event, "participant", ""), getattr(event, "reason", ""))
        say(event)

    return tell
