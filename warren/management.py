"""RabbitMQ's management HTTP API."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from schemas.errors import BrokerUnreachableError, InvalidInputError, LoginRefusedError
from transport import client_context, is_loopback


def parts_of(url: str) -> SplitResult:
    """Split an address; one that is none has no parts."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return urlsplit("")
    return parts


class Management:
    """Calls the API; every answer that is no success raises. One thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        insecure_http: bool = False,
        timeout_seconds: float = 30.0,
    ) -> None:
        """Send nothing yet.

        Args:
            url: as in http://login:password@host:15672.
            login: name and password, each for where the URL has none.
            tls: what https is held to; the system's certificates by default.
            insecure_http: whether passwords may go unencrypted to another machine.
            timeout_seconds: how long an answer is waited for.

        Raises:
            InvalidInputError: if it is no such URL; the message does not repeat it.
        """
        parts = parts_of(url)
        port = f":{parts.port}" if parts.port else ""
        name, password = login or (None, None)
        name = unquote(parts.username) if parts.username else name
        password = unquote(parts.password) if parts.password else password
        if parts.scheme not in ("http", "https") or not parts.hostname or name is None:
            raise InvalidInputError(
                "the management address must look like http://login:password@host:15672, or "
                "https:// with TLS"
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname) and not insecure_http:
            raise InvalidInputError(
                f"http:// would send a password unencrypted to {parts.hostname}; use https:// "
                "(with --ca-file for a private CA), an ssh tunnel to the broker's machine, or "
                "--insecure-http"
            )
        self.host, self.login = parts.hostname, name
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        pair = f"{name}:{password or ''}".encode()
        self._authorization = "Basic " + base64.b64encode(pair).decode()
        self._timeout_seconds = timeout_seconds
        self._tls = (tls or client_context()) if parts.scheme == "https" else None

    def __repr__(self) -> str:
        return f"<Management {self.url}>"

    def get(self, *path: str, **query: str | int) -> Any:
        """Return what stands there, None where nothing does."""
        try:
            return self._call("GET", path, query=query)
        except _MissingError:
            return None

    def put(self, *path: str, body: dict[str, Any] | None = None) -> None:
        """Make or replace what stands there."""
        self._call("PUT", path, body=body or {})

    def post(self, *path: str, body: dict[str, Any]) -> None:
        """Add something there."""
        self._call("POST", path, body=body)

    def delete(self, *path: str) -> bool:
        """Remove what stands there; False if nothing did."""
        try:
            self._call("DELETE", path)
        except _MissingError:
            return False
        return True

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: dict[str, str | int] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:
        where = "/".join(quote(part, safe="") for part in path)
        request = urllib.request.Request(  # noqa: S310 - http or https, checked above
            f"{self.url}/api/{where}" + (f"?{urlencode(query)}" if query else ""),
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(  # noqa: S310 - as above
                request, timeout=self._timeout_seconds, context=self._tls
            ) as answer:
                text = answer.read()
            return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:  # it is the open answer, too
                ours = self._translated(error, f"{method} /api/{where}")
            raise ours from None
        except (OSError, ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerUnreachableError(
                f"there is no management API at {self.url} ({reason})"
            ) from None

    def _translated(self, error: urllib.error.HTTPError, what: str) -> Exception:
        if error.code == HTTPStatus.NOT_FOUND:
            return _MissingError(what)
        if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return LoginRefusedError(
                f"the management API at {self.url} refuses the login {self.login!r} for {what}: it "
                "needs the tag monitoring to look, administrator to enrol, and rights on the vhost"
            )
        text = error.read()[:300].decode(errors="replace")
        return BrokerUnreachableError(f"{what} at {self.url}: {error.code} {text}")


class _MissingError(BrokerUnreachableError):
    """Raised when there is nothing at a path; callers of `Management` never see it but for PUT."""
