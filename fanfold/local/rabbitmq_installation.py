"""Finds the RabbitMQ that is installed here, and the user who has to run it."""

import os
import pwd
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fanfold.schemas.errors import InvalidInputError

# Debian's rabbitmq-server is a wrapper that only root or `rabbitmq` may call; this is the folder of
# the script that it calls.
_BEHIND_THE_WRAPPER = Path("/usr/lib/rabbitmq/bin")
_SEARCHED = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

_NOT_INSTALLED = (
    "no RabbitMQ broker: install one (Debian and Ubuntu: apt install rabbitmq-server; "
    "macOS: brew install rabbitmq), or start a container "
    "(docker run -p 5672:5672 rabbitmq:4-management), "
    "or name a running broker with --broker or FANFOLD_BROKER_URL"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed RabbitMQ: its scripts, and its version.

    Attributes:
        server: the script `rabbitmq-server`.
        ctl: the script `rabbitmqctl`.
        epmd: Erlang's port mapper; every node here has its own.
        version: major and minor, (0, 0) if the path does not contain it.
        user: the account to run it as if this process is root's; None keeps the present one.
    """

    server: Path
    ctl: Path
    epmd: Path
    version: tuple[int, int]
    user: str | None


def find_installation() -> Installation:
    """Return the installed RabbitMQ.

    Raises:
        InvalidInputError: if none is installed; the message names the three ways to get one.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SEARCHED))
    wrapper = shutil.which("rabbitmq-server", path=path)
    erl = shutil.which("erl", path=path)
    if wrapper is None or erl is None:
        raise InvalidInputError(_NOT_INSTALLED)
    scripts = Path(wrapper).parent
    if (_BEHIND_THE_WRAPPER / "rabbitmq-server").exists() and scripts == Path("/usr/sbin"):
        scripts = _BEHIND_THE_WRAPPER
    epmd = shutil.which("epmd", path=path) or Path(erl).resolve().parent / "epmd"
    server = scripts / "rabbitmq-server"
    return Installation(server, scripts / "rabbitmqctl", Path(epmd), _version(server), _user())


def _version(server: Path) -> tuple[int, int]:
    """Read the version from `lib/rabbitmq_server-3.10.8/sbin` or `Cellar/rabbitmq/4.0.5/sbin`."""
    found = re.search(r"rabbitmq(?:_server)?[-/](\d+)\.(\d+)", str(server.resolve()))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _user() -> str | None:
    """Return `rabbitmq` if this process is root's and a package made that account."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("rabbitmq").pw_name
    except KeyError:
        return None
