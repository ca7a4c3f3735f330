"""Which of a broker's virtual hosts a federation is in."""

from collections.abc import Sequence
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from fanfold.access.management import ManagementClient
from fanfold.schemas.errors import InvalidInputError
from fanfold.transport import Address


def vhost_of(
    management: ManagementClient, brokers: Sequence[str] = (), given: str | None = None
) -> str:
    """Return the vhost that was given, or that the brokers' URLs name.

    Where neither is so it is the only one in which the administrator has rights, or else `/`.

    Raises:
        InvalidInputError: if several are named, or the administrator has no rights there.
    """
    named = {unquote(urlsplit(url).path[1:]) for url in brokers if Address.parse(url)} - {""}
    if given is not None:
        named.add(given)
    if len(named) > 1:
        raise InvalidInputError(
            f"--vhost and the broker's URLs name {len(named)} vhosts "
            f"({', '.join(sorted(named))}); name the federation's alone"
        )
    rights = management.get("users", management.login, "permissions") or []
    usable = sorted(each["vhost"] for each in rights)
    vhost = named.pop() if named else usable[0] if len(usable) == 1 else "/"
    if vhost not in usable:
        raise InvalidInputError(
            f"the login {management.login!r} has no rights in the broker's vhost {vhost!r}; name "
            "the federation's with --vhost, or behind the broker's address as in "
            f"amqps://host:5671/VHOST (it has rights in: {', '.join(usable) or 'none'})"
        )
    return vhost


def with_vhost(url: str, vhost: str) -> str:
    """Return a broker's URL that names its vhost."""
    path = "" if vhost == "/" else "/" + quote(vhost, safe="")
    return urlunsplit(urlsplit(url)._replace(path=path))
