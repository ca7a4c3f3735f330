"""RabbitMQ's management HTTP API, with an administrator's login."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from schemas.errors import BrokerUnreachableError, InvalidInputError, LoginRefusedError
from transport import client_context

_TIMEOUT_SECONDS = 30.0
_UNAUTHORIZED, _NOT_FOUND = 401, 404


class Management:
    """Calls the API; every answer that is no success raises. One thread at a time."""

    def __init__(self, url: str, *, ca_file: Path | None = None) -> None:
        """Use `http(s)://login:password@host:15672`.

        Raises:
            InvalidInputError: if it is not such a URL; the message does not repeat it.
        """
        parts = urlsplit(url)
        try:
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is None:
            raise InvalidInputError(
                "the management address must look like http://admin:password@host:15672, or "
                "https:// with TLS"
            )
        self.host = parts.hostname
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        self._authorization = "Basic " + base64.b64encode(login.encode()).decode()
        self._context: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._context = client_context(ca_file=ca_file)

    def __repr__(self) -> str:
        return f"<Management {self.url}>"

    def get(self, *path: str) -> Any:
        """Return what stands there, None where nothing does."""
        try:
            return self._call("GET", path, None)
        except _MissingError:
            return None

    def put(self, *path: str, body: dict[str, Any] | None = None) -> None:
        """Make or replace what stands there."""
        self._call("PUT", path, body or {})

    def post(self, *path: str, body: dict[str, Any]) -> None:
        """Add something there."""
        self._call("POST", path, body)

    def delete(self, *path: str) -> bool:
        """Remove what stands there; False if nothing did."""
        try:
            self._call("DELETE", path, None)
        except _MissingError:
            return False
        return True

    def _call(self, method: str, path: tuple[str, ...], body: dict[str, Any] | None) -> Any:
        where = "/".join(quote(part, safe="") for part in path)
        request = urllib.request.Request(  # noqa: S310 - http or https, checked above
            f"{self.url}/api/{where}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(  # noqa: S310 - as above
                request, timeout=_TIMEOUT_SECONDS, context=self._context
            ) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:  # it is the open answer, too
                ours = self._translated(error, f"{method} /api/{where}")
            raise ours from None
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerUnreachableError(
                f"the management API at {self.url} does not answer: {reason}"
            ) from None
        return json.loads(text) if text else None

    def _translated(self, error: urllib.error.HTTPError, what: str) -> Exception:
        if error.code == _NOT_FOUND:
            return _MissingError(what)
        if error.code == _UNAUTHORIZED:
            return LoginRefusedError(
                f"the management API at {self.url} refuses the login, or it is no administrator's"
            )
        text = error.read()[:300].decode(errors="replace")
        return BrokerUnreachableError(f"{what} at {self.url}: {error.code} {text}")


class _MissingError(BrokerUnreachableError):
    """Raised when there is nothing at a path; callers of `Management` never see it but for PUT."""
