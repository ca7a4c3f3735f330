"""The commands for keys: `fanfold identity`, `fanfold rotate` and `fanfold audit`."""

import getpass
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.cli.help import ExampledCommand
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import owner_of
from fanfold.views.wall_clock import utc_now

if TYPE_CHECKING:
    from fanfold.sealing.audit_trail import AuditTrail

ROSTER_VARIABLE = "FANFOLD_ROSTER"

RosterFolder = Annotated[
    Path | None,
    typer.Option(
        "--roster",
        envvar=ROSTER_VARIABLE,
        metavar="DIR",
        help="Folder of the keys of the roster's owner, the coordinator or a keeper.",
    ),
]
PublicFile = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="FILE.pub",
        help="The participant's identity.pub, for the coordinator's roster.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (identity, rotate, audit):
        app.command(cls=ExampledCommand)(command)


def identity(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the new keys.")],
) -> None:
    """Make the keys of a participant or a coordinator, on the machine where they are used."""
    from fanfold.sealing.identity import PUBLIC_FILE, Identity  # noqa: PLC0415 - takes time to load

    made = Identity.generate()
    made.write(folder)
    sys.stdout.write(
        f"{folder} holds new keys, which never leave it; hand over {folder / PUBLIC_FILE}, "
        f"and compare: {made.public.fingerprint}\n"
    )


def rotate(
    participant: Annotated[
        str | None, typer.Argument(metavar="ID", help="Whose keys change.")
    ] = None,
    *,
    coordinator: Annotated[
        bool,
        typer.Option("--coordinator", help="Make other keys for the coordinator itself instead."),
    ] = False,
    public: PublicFile = None,
    roster: RosterFolder = None,
) -> None:
    """Put new keys of a participant on the roster; its old ones do not count any more.

    With --coordinator the coordinator's own keys change: start it again, and let everybody pin the
    new identity.pub; nobody believes it before.
    """
    from fanfold.sealing.identity import PublicIdentity  # noqa: PLC0415 - takes time to load
    from fanfold.sealing.roster import changing  # noqa: PLC0415 - likewise

    if coordinator and participant is None and public is None and roster is not None:
        _rotate_own(roster)
        return
    if coordinator or participant is None or public is None or roster is None:
        raise InvalidInputError(
            "name who has new keys, the keys with --identity FILE.pub, and the roster with "
            "--roster DIR; or the roster alone, with --coordinator"
        )
    theirs = PublicIdentity.read(public)
    with changing(roster) as held:
        held[0] = held[0].rotate(participant, theirs)
        trail(roster).append("rotated", participant, fingerprint=theirs.fingerprint)
    sys.stdout.write(f"{participant} has other keys now; compare: {theirs.fingerprint}\n")


def _rotate_own(roster: Path) -> None:
    """Make other keys for the coordinator, in the folder of its roster."""
    from fanfold.sealing.identity import PUBLIC_FILE, Identity  # noqa: PLC0415 - likewise
    from fanfold.sealing.roster import changing  # noqa: PLC0415 - likewise

    Identity.read(roster)  # there are some to be replaced
    made = Identity.generate()
    with changing(roster):
        made.replace(roster)
        trail(roster).append("rotated", "coordinator", fingerprint=made.public.fingerprint)
    sys.stdout.write(
        f"the coordinator has other keys now; start it again, hand {roster / PUBLIC_FILE} to "
        f"everybody, and compare: {made.public.fingerprint}\n"
    )


def audit(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the roster.")],
    *,
    holds: Annotated[
        str | None,
        typer.Option("--holds", metavar="HASH", help="A hash that was noted earlier."),
    ] = None,
) -> None:
    """Check the audit trail, and print who was enrolled, revoked, joined and left."""
    from fanfold.sealing.audit_trail import FILE, checked_lines  # noqa: PLC0415 - takes time to load

    number, chain, is_held = 0, "", False
    for line in checked_lines(folder / FILE):
        number, chain = number + 1, line.chain
        is_held |= chain == holds
        sys.stdout.write("  ".join(line.record.values()) + "\n")
    if holds is not None and not is_held:
        raise InvalidInputError(
            f"no line of {folder / FILE} has the hash {holds[:64]}: lines were cut off since it "
            "was noted, or the whole file was written anew"
        )
    sys.stdout.write(
        f"{number} lines, each of which follows from the one before; the last hash is {chain}\n"
    )


def note_login(roster: Path | None, event: str, login: str, **details: str) -> None:
    """Write into the audit trail, if a roster is named, that a login was made or removed."""
    if roster is None:
        return
    try:
        trail(roster).append(event, owner_of(login), login=login, **details)
    except OSError as error:
        raise InvalidInputError(
            f"--roster {roster} cannot be written ({error.strerror}); name another folder"
        ) from None


def trail(roster: Path) -> "AuditTrail":
    """Return the audit trail of a roster, written by whoever runs this command."""
    from fanfold.sealing.audit_trail import AuditTrail  # noqa: PLC0415 - takes time to load

    return AuditTrail(roster, utc_now, by=f"{getpass.getuser()}@{socket.gethostname()}")
