"""Keys on the roster of a sealed federation, for `fanfold enroll` and `fanfold revoke`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fanfold.cli.identity_commands import trail
from fanfold.schemas.errors import InvalidInputError

if TYPE_CHECKING:
    from fanfold.access.credentials import Role


def check_keys(participant: str | None, role: "Role", roster: Path | None, *, rotate: bool) -> None:
    """Look whether keys may be put on the roster.

    Raises:
        InvalidInputError: if they are not a participant's, or stay as they are.
    """
    if role != "participant" or participant is None or roster is None:
        raise InvalidInputError(
            "--identity is a participant's, for the roster: fanfold enroll ID --identity FILE.pub "
            "--roster DIR"
        )
    if rotate:
        raise InvalidInputError(
            "--rotate makes another broker login, and the keys stay; leave out --identity, or give "
            f"{participant} other keys with `fanfold rotate {participant} --identity FILE.pub`"
        )


def enroll_keys(
    participant: str, public: Path, roster: Path, make_login: Callable[[str | None], None]
) -> None:
    """Put keys on the roster, once `make_login` has taken the coordinator's public identity.

    Raises:
        InvalidInputError: if there is no roster, or keys that cannot be on it.
    """
    from fanfold.sealing.identity import PUBLIC_FILE, PublicIdentity  # noqa: PLC0415 - not for --help
    from fanfold.sealing.roster import changing  # noqa: PLC0415 - not for --help

    if not (roster / PUBLIC_FILE).exists():
        raise InvalidInputError(
            f"--roster {roster} has no {PUBLIC_FILE}; a roster is in the folder of its owner's "
            f"keys, which `fanfold identity {roster}` makes"
        )
    theirs, ours = PublicIdentity.read(public), PublicIdentity.read(roster)
    with changing(roster) as held:
        held[0] = held[0].enroll(participant, theirs)
        make_login(ours.text())
        trail(roster).append("enrolled", participant, fingerprint=theirs.fingerprint)


def revoke_keys(participant: str, roster: Path) -> None:
    """Take keys off the roster.

    Raises:
        InvalidInputError: if they are not on it.
    """
    from fanfold.sealing.roster import changing  # noqa: PLC0415 - not for --help

    with changing(roster) as held:
        held[0] = held[0].revoke(participant)
        trail(roster).append("revoked", participant)
