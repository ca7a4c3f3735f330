"""The options of commands that use the broker's management API, and a client made from them.

Commands import what they need only when they run, so that `--help` answers at once.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.access.broker_environment import LOGIN_VARIABLE
from fanfold.schemas.errors import InvalidInputError
from fanfold.transport import client_context

if TYPE_CHECKING:
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
Federation = Annotated[
    str, typer.Option("--federation", metavar="NAME", help="Name of the federation.")
]
Vhost = Annotated[
    str | None,
    typer.Option(
        "--vhost",
        metavar="VHOST",
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
    typer.Option(
        "--ca-file",
        metavar="FILE",
        help="PEM file of the CAs to trust; also named in the credentials.",
    ),
]


def is_named(url: str | None) -> bool:
    """Whether there is an address, by an option or in the environment."""
    return bool(url or os.environ.get(MANAGEMENT_VARIABLE))


def management_of(
    url: str | None, ca_file: Path | None, *, insecure_http: bool
) -> "ManagementClient":
    """Take the password from the URL or the environment, or ask for it at the terminal.

    Raises:
        InvalidInputError: if there is no address, or it cannot be used.
    """
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
