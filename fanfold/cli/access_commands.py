"""The commands that manage access: `fanfold enroll`, `fanfold revoke`, `fanfold certificates`.

Commands import what they need only when they run, so that `--help` answers at once.
"""

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.access.broker_environment import LOGIN_VARIABLE
from fanfold.cli.help import ExampledCommand
from fanfold.cli.identity_commands import PublicFile, RosterFolder, trail
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.names import FederationNames
from fanfold.transport import client_context

if TYPE_CHECKING:
    from fanfold.access.credentials import Role
    from fanfold.access.management import ManagementClient

MANAGEMENT_VARIABLE = "FANFOLD_MANAGEMENT_URL"

ManagementUrl = Annotated[
    str | None,
    typer.Option(
        "--management",
        metavar="URL",
        help="The broker's management API, http(s)://admin@host:15672; the password from the URL, "
        f"from {LOGIN_VARIABLE}, or asked for. Also {MANAGEMENT_VARIABLE}.",
    ),
]
Federation = Annotated[str, typer.Option("--federation", help="Name of the federation.")]
Vhost = Annotated[
    str | None,
    typer.Option(
        "--vhost",
        help="Virtual host of the federation; by default the one in the broker's URL, or the only "
        "one that the administrator has rights in, or /.",
    ),
]
InsecureHttp = Annotated[
    bool,
    typer.Option(
        "--insecure-http",
        help="Send passwords unencrypted to a management API on another machine.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", help="PEM file of the CAs to trust; also named in the credentials."),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (enroll, revoke, certificates):
        app.command(cls=ExampledCommand)(command)


def enroll(
    participant: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The participant's id and broker login.")
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
            "--certificate", help="Client certificate to log in with, instead of a password."
        ),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The certificate's key.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Credentials file; - prints it (default ID.credentials.json)."),
    ] = None,
    public: PublicFile = None,
    roster: RosterFolder = None,
) -> None:
    """Make a broker login for a participant, coordinator, operator or keeper, and its credentials.

    A participant may take part and nothing else, an operator may ask `fanfold serve` and nothing
    else, a keeper of masks may read its requests and answer, and the coordinator's login may do all
    of it in its federation.
    """
    from fanfold.access.enrolment import Enrolment  # noqa: PLC0415 - see above
    from fanfold.access.vhosts import vhost_of, with_vhost  # noqa: PLC0415 - see above
    from fanfold.sealing.identity import PublicIdentity  # noqa: PLC0415 - see above

    role = _role(coordinator=coordinator, operator=operator, keeper=keeper is not None)
    keeper_name = "" if keeper is None else PublicIdentity.read(keeper).name
    if public is not None and (role != "participant" or participant is None or roster is None):
        raise InvalidInputError(
            "--identity is a participant's, for the roster: fanfold enroll ID --identity FILE.pub "
            "--roster DIR"
        )
    if public is not None and not (management or os.environ.get(MANAGEMENT_VARIABLE)):
        _enroll_keys(participant or "", public, roster or Path(), lambda _pinned: None)
        sys.stdout.write(
            f"{participant} is on the roster; --management would make a broker login, too\n"
        )
        return
    login = participant or _login(role, keeper_name)
    path = out or Path(f"{login}.credentials.json")
    if path.exists():
        raise InvalidInputError(f"{path} is there already; name another --out")
    api = _management(management, ca_file, insecure_http=insecure_http)
    place = vhost_of(api, broker or (), vhost)
    enrolment = Enrolment(
        api,
        FederationNames(federation),
        vhost=place,
        brokers=[with_vhost(url, place) for url in broker or ()],
        ca_file=ca_file,
        certificate=certificate,
        key=key,
    )

    def make_login(pinned: str | None) -> None:
        made = enrolment.enroll(login, role, keeper=keeper_name)
        made = made.model_copy(update={"coordinator_identity": pinned})
        if str(path) == "-":
            sys.stdout.write(made.text() + "\n")
            return
        try:
            made.write(path)
        except InvalidInputError:
            enrolment.revoke(login)  # its password would be lost with the file
            raise

    if public is None:
        make_login(None)
    else:
        _enroll_keys(login, public, roster or Path(), make_login)
    if str(path) != "-":
        sys.stdout.write(f"{login} is enrolled in {federation}; its credentials are in {path}\n")


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
) -> None:
    """Take a participant off the roster, close its connections, remove its login and its queue."""
    from fanfold.access.enrolment import Enrolment  # noqa: PLC0415 - see above
    from fanfold.access.vhosts import vhost_of  # noqa: PLC0415 - see above

    if roster is not None:
        _revoke_keys(participant, roster)
        sys.stdout.write(f"{participant} is off the roster; the next version has another key\n")
        if not (management or os.environ.get(MANAGEMENT_VARIABLE)):
            return
    api = _management(management, ca_file, insecure_http=insecure_http)
    enrolment = Enrolment(api, FederationNames(federation), vhost=vhost_of(api, given=vhost))
    enrolment.revoke(participant)
    sys.stdout.write(f"{participant} is revoked: its login and its queue are gone\n")


def _enroll_keys(
    participant: str, public: Path, roster: Path, make_login: Callable[[str | None], None]
) -> None:
    """Put keys on the roster, once `make_login` has taken the coordinator's public identity."""
    from fanfold.sealing.identity import PublicIdentity  # noqa: PLC0415 - see above
    from fanfold.sealing.roster import changing  # noqa: PLC0415 - see above

    theirs, ours = PublicIdentity.read(public), PublicIdentity.read(roster)
    with changing(roster) as held:
        held[0] = held[0].enroll(participant, theirs)
        make_login(ours.text())
        trail(roster).append("enrolled", participant, fingerprint=theirs.fingerprint)


def _revoke_keys(participant: str, roster: Path) -> None:
    from fanfold.sealing.roster import changing  # noqa: PLC0415 - see above

    with changing(roster) as held:
        held[0] = held[0].revoke(participant)
        trail(roster).append("revoked", participant)


def certificates(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the private CA.")],
    *,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Name or address of the broker; repeatable."),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option("--client", help="Make a certificate for this broker login; repeatable."),
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


def _management(
    url: str | None, ca_file: Path | None, *, insecure_http: bool
) -> "ManagementClient":
    """Take the password from the URL or the environment, or ask for it at the terminal."""
    from fanfold.access.management import ManagementClient, parts_of  # noqa: PLC0415 - see above

    url = url or os.environ.get(MANAGEMENT_VARIABLE)
    if not url:
        raise InvalidInputError(
            f"name the management API with --management or {MANAGEMENT_VARIABLE}"
        )
    parts = parts_of(url)
    login = None
    if parts.username and not parts.password:
        password = os.environ.get(LOGIN_VARIABLE)
        if password is None and sys.stdin.isatty():
            password = getpass.getpass(f"Password of {parts.username} at {parts.host}: ")
        login = (parts.username, password or "")
    tls = client_context(ca_file=ca_file) if parts.scheme == "https" else None
    return ManagementClient(url, login=login, tls=tls, insecure_http=insecure_http)
