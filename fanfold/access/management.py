"""RabbitMQ's management HTTP API."""

import ssl
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from fanfold.schemas.errors import BrokerUnreachableError, InvalidInputError, LoginRefusedError
from fanfold.transport import client_context, is_loopback


def parts_of(url: str) -> httpx.URL:
    """Split a URL; what is no URL has no parts."""
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        return httpx.URL()


_VERBS = {"GET": "look at", "PUT": "make", "POST": "add to", "DELETE": "remove"}


class ManagementClient:
    """Calls the API; an answer that is no success raises. Use it from one thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        insecure_http: bool = False,
        timeout_seconds: float = 30.0,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: as in http://login:password@host:15672.
            login: name and password, each used if the URL has none.
            tls: settings for https; the system's certificates by default.
            insecure_http: whether passwords may go unencrypted to another machine.
            timeout_seconds: how long to wait for an answer.

        Raises:
            InvalidInputError: if it is no such URL; the message does not repeat it.
        """
        parts = parts_of(url)
        name, password = login or ("", "")
        self.host, self.login = parts.host, parts.username or name
        if parts.scheme not in ("http", "https") or not self.host or not self.login:
            raise InvalidInputError(
                "the management address must look like http://login:password@host:15672, or "
                "https:// with TLS"
            )
        if parts.scheme == "http" and not is_loopback(self.host) and not insecure_http:
            raise InvalidInputError(
                f"http:// would send a password unencrypted to {self.host}; use https:// "
                "(with --ca-file for a private CA), an ssh tunnel to the broker's machine, or "
                "--insecure-http"
            )
        self.url = str(parts.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        self._login = (self.login, parts.password or password)
        self._timeout_seconds = timeout_seconds
        self._tls = (tls or client_context()) if parts.scheme == "https" else False

    def __repr__(self) -> str:
        return f"<Management {self.url}>"

    def get(self, *path: str, **query: str | int) -> Any:
        """Return the object at a path, None if there is none."""
        try:
            return self._call("GET", path, query=query)
        except _MissingError:
            return None

    def put(self, *path: str, body: dict[str, Any] | None = None) -> None:
        """Make or replace the object at a path."""
        self._call("PUT", path, body=body or {})

    def post(self, *path: str, body: dict[str, Any]) -> None:
        """Add an object at a path."""
        self._call("POST", path, body=body)

    def delete(self, *path: str) -> bool:
        """Remove the object at a path; return False if there was none."""
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
        where = "/api/" + "/".join(quote(part, safe="") for part in path)
        try:
            answer = httpx.request(
                method,
                self.url + where,
                params=query,
                json=body,
                auth=self._login,
                verify=self._tls,
                timeout=self._timeout_seconds,
            )
            if answer.is_success:
                return answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError, ImportError) as error:  # a proxy by SOCKS
            reason = str(error) or f"no answer within {self._timeout_seconds:g} s"
            raise BrokerUnreachableError(
                f"there is no management API at {self.url} ({reason})"
            ) from None
        names = "".join(f" {name!r}" for name in path[1:])
        raise self._translated(answer, f"{_VERBS[method]} the {path[0].removesuffix('s')}{names}")

    def _translated(self, answer: httpx.Response, what: str) -> Exception:
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return _MissingError(f"the broker at {self.url} has nothing with which to {what}")
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return LoginRefusedError(
                f"the management API at {self.url} refuses the login {self.login!r}, asked to "
                f"{what}: it needs the tag monitoring to look, administrator to enrol, and rights "
                "in the vhost"
            )
        return BrokerUnreachableError(
            f"the broker at {self.url} could not {what}: {answer.status_code} {answer.text[:300]}"
        )


class _MissingError(BrokerUnreachableError):
    """Raised when there is nothing at a path; only PUT lets it reach its caller."""
