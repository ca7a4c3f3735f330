"""Keys for a sealed federation on one machine, and its roster; those of an earlier run are kept."""

from collections.abc import Sequence
from datetime import UTC, datetime

from fanfold.local.commands import keys_of
from fanfold.local.settings import LocalSettings
from fanfold.participant.data_folders import COORDINATOR
from fanfold.sealing.audit_trail import AuditTrail
from fanfold.sealing.identity import PRIVATE_FILE, Identity
from fanfold.sealing.roster import changing


def make_keys(settings: LocalSettings, participants: Sequence[str]) -> None:
    """Make the keys of the coordinator and its participants, and enrol these.

    Raises:
        InvalidInputError: if the folder cannot be written, or keys in it are damaged.
    """
    for name in (COORDINATOR, *participants):
        folder = keys_of(settings, name)
        if not (folder / PRIVATE_FILE).exists():
            Identity.generate().write(folder)
    roster = keys_of(settings, COORDINATOR)
    trail = AuditTrail(roster, lambda: datetime.now(UTC), by="fanfold local")
    with changing(roster) as held:
        for name in participants:
            if name not in held[0].members:
                public = Identity.read(keys_of(settings, name)).public
                held[0] = held[0].enroll(name, public)
                trail.append("enrolled", name, fingerprint=public.fingerprint)
