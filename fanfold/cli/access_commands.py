"""The commands that manage access: `fanfold enroll`, `fanfold revoke`, `fanfold certificates`.

Commands import what they need only when they run, so that `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.cli.help import ExampledCommand
from fanfold.cli.identity_commands import PublicFile, RosterFolder, note_login
from fanfold.cli.management_options import (
    CaFile,
    Federation,
    InsecureHttp,
    ManagementUrl,
    Vhost,
    is_named,
    management_of,
)
from fanfold.cli.roster_keys import check_keys, enroll_keys, revoke_keys
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import FederationNames, check_identifier
from fanfold.transport import client_context

if TYPE_CHECKING:
    from fanfold.access.credentials import Credentials, Role


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (enroll, revoke, certificates):
        app.command(cls=ExampledCommand)(command)


def enroll(
    participant: Annotated[
        str | None, typer.Argument(metavar="ID", help="The participant's id and broker login.")
    ] = None,
    *,
    coordinator: Annotated[
        bool, typer.Option("--coordinator", help="Enrol the coordinator instead.")
    ] = False,
    operator: Annotated[
        bool,
        typer.Option(
            "--operator", help="Enrol somebody who may submit, stop and pull runs instead."
        ),
    ] = False,
    keeper: Annotated[
        Path | None,
        typer.Option(
            "--keeper",
            metavar="KEEPER.pub",
            help="Enrol a keeper of masks instead, whose public line this is.",
        ),
    ] = None,
    management: ManagementUrl = None,
    federation: Federation = "fanfold",
    vhost: Vhost = None,
    broker: Annotated[
        list[str] | None,
        typer.Option(
            "--public-broker",
            "--broker",
            metavar="URL",
            help="The broker's address as the participant sees it, amqps://host:5671/vhost without "
            "a login; repeatable. By default the management API's host.",
        ),
    ] = None,
    ca_file: CaFile = None,
    insecure_http: InsecureHttp = False,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            metavar="FILE",
            help="Client certificate to log in with, instead of a password.",
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The certificate's key.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Credentials file; - prints it (default ID.credentials.json).",
        ),
    ] = None,
    public: PublicFile = None,
    roster: RosterFolder = None,
    rotate: Annotated[
        bool,
        typer.Option(
            "--rotate",
            help="Make another login, ID.2, for who has one: both are valid until `fanfold revoke "
            "ID --old`.",
        ),
    ] = False,
) -> None:
    """Make a broker login for a participant, coordinator, operator or keeper, and its credentials.

    A participant may take part and nothing else, an operator may ask `fanfold serve` and nothing
    else, a keeper of masks may read its requests and answer, and the coordinator's login may do all
    of it in its federation.
    """
    from fanfold.access.enrolment import Enrolment  # noqa: PLC0415 - see above
    from fanfold.access.vhosts import vhost_of, with_vhost  # noqa: PLC0415 - see above
    from fanfold.sealing.identity import PublicIdentity  # noqa: PLC0415 - see above
    from fanfold.sealing.roster import read_roster  # noqa: PLC0415 - see above

    role = _role(coordinator=coordinator, operator=operator, keeper=keeper is not None)
    keeper_name = "" if keeper is None else PublicIdentity.read(keeper).name
    if public is not None:
        check_keys(participant, role, roster, rotate=rotate)
    if public is not None and not is_named(management):
        enroll_keys(participant or "", public, roster or Path(), lambda _pinned: None)
        sys.stdout.write(
            f"{participant} is on the roster; --management would make a broker login, too\n"
        )
        return
    owner = check_identifier("the id", participant or _login(role, keeper_name))
    names = FederationNames(federation)
    client_context(certificate=certificate, key=key)  # they open the broker, if they open at all
    api = management_of(management, ca_file, insecure_http=insecure_http)
    place = vhost_of(api, broker or (), vhost)
    enrolment = Enrolment(
        api,
        names,
        vhost=place,
        brokers=[with_vhost(url, place) for url in broker or ()],
        ca_file=ca_file,
        certificate=certificate,
        key=key,
    )

    login = enrolment.next_login(owner, role, keeper=keeper_name) if rotate else owner
    path = out or Path(f"{login}.credentials.json")
    if path.exists():
        raise InvalidInputError(f"{path} is there already; name another --out")

    def make_login(pinned: str | None) -> None:
        made = enrolment.enroll(login, role, keeper=keeper_name)
        try:
            _hand_over(made.model_copy(update={"coordinator_identity": pinned}), path, roster)
        except InvalidInputError:  # its password would be lost with the file
            (enrolment.remove if rotate else enrolment.revoke)(login)
            raise

    if public is not None:
        enroll_keys(login, public, roster or Path(), make_login)
    else:
        is_member = roster is not None and owner in read_roster(roster).members
        make_login(PublicIdentity.read(roster).text() if roster and is_member else None)
    if str(path) != "-":
        sys.stdout.write(
            f"{owner} has another login, {login}; its credentials are in {path}. Put them where "
            f"the earlier ones are, then: fanfold revoke {owner} --old\n"
            if rotate
            else f"{login} is enrolled in {federation}; its credentials are in {path}\n"
        )


def _hand_over(made: "Credentials", path: Path, roster: Path | None) -> None:
    """Write the credentials, and into the audit trail that they were made."""
    if str(path) == "-":
        sys.stdout.write(made.text() + "\n")
    else:
        made.write(path)
    note_login(roster, "login made", made.login, role=made.role)


def _login(role: "Role", keeper_name: str) -> str:
    """Return the login of a role where none was named."""
    logins: dict[Role, str] = {"coordinator": "coordinator", "keeper": f"keeper-{keeper_name}"}
    if role not in logins:
        raise InvalidInputError(
            "name the participant: fanfold enroll ID; an operator takes --operator, too. "
            "The coordinator needs no ID: --coordinator"
        )
    return logins[role]


def _role(*, coordinator: bool, operator: bool, keeper: bool) -> "Role":
    asked: dict[Role, bool] = {"coordinator": coordinator, "operator": operator, "keeper": keeper}
    chosen = [role for role, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise InvalidInputError(
            f"{' and '.join(f'--{role}' for role in chosen)} are two logins; enrol one at a time"
        )
    return chosen[0] if chosen else "participant"


def revoke(
    participant: Annotated[str, typer.Argument(metavar="ID", help="Whom to remove.")],
    *,
    management: ManagementUrl = None,
    federation: Federation = "fanfold",
    vhost: Vhost = None,
    ca_file: CaFile = None,
    insecure_http: InsecureHttp = False,
    roster: RosterFolder = None,
    old: Annotated[
        bool,
        typer.Option(
            "--old", help="Remove only the logins before the newest, which `enroll --rotate` made."
        ),
    ] = False,
) -> None:
    """Take a participant off the roster, close its connections, remove its login and its queue."""
    from fanfold.access.enrolment import Enrolment  # noqa: PLC0415 - see above
    from fanfold.access.vhosts import vhost_of  # noqa: PLC0415 - see above
    from fanfold.sealing.roster import read_roster  # noqa: PLC0415 - see above

    has_login = is_named(management)
    if roster is not None and not old:
        if participant in read_roster(roster).members or not has_login:
            revoke_keys(participant, roster)
            sys.stdout.write(f"{participant} is off the roster; the next version has another key\n")
        if not has_login:
            return
    api = management_of(management, ca_file, insecure_http=insecure_http)
    enrolment = Enrolment(api, FederationNames(federation), vhost=vhost_of(api, given=vhost))
    if old:
        *gone, newest = enrolment.revoke_old(participant)
        told = f"{' and '.join(gone)} can log in no more; {participant} goes on with {newest}"
    else:
        gone = enrolment.revoke(participant)
        told = f"{participant} is revoked: its login and its queue are gone"
    for login in gone:
        note_login(roster, "login removed", login)
    sys.stdout.write(f"{told}\n")


def certificates(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the private CA.")],
    *,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="Name or address of the broker; repeatable."),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(
            "--client",
            metavar="LOGIN",
            help="Make a certificate for this broker login; repeatable.",
        ),
    ] = None,
) -> None:
    """Make a private CA, a certificate for the broker, and certificates for logins."""
    from fanfold.access.certificates import Authority  # noqa: PLC0415 - see above

    authority = Authority.in_folder(folder)
    made: list[Path] = []
    if host or not (folder / "server.pem").exists():
        made += authority.issue_server(host or ["localhost", "127.0.0.1"])
    for login in client or ():
        made += authority.issue_client(login)
    for path in (folder / "ca.pem", *made):
        sys.stdout.write(f"{path}\n")
