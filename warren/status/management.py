"""What the broker's management API knows about a federation."""

import json
import ssl
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import Request, urlopen

from schemas.errors import InvalidInputError, WarrenError
from transport.addresses import Address

PAGE_SIZE = 500
ANSWER_SECONDS = 10.0


class ManagementUnreachableError(WarrenError):
    """Raised when the management API does not answer, or not to this login."""


@dataclass(frozen=True, slots=True)
class QueueNews:
    """One queue, as of the broker's last statistics: up to 5 s ago by default."""

    name: str
    ready: int
    unacknowledged: int
    consumers: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Management:
    """One management API, and who we are there."""

    url: str
    """Without login."""
    login: str
    password: str = field(repr=False)
    vhost: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """What https is held to; the system's certificates by default."""

    @classmethod
    def of(cls, url: str, broker: str, tls: ssl.SSLContext | None = None) -> "Management":
        """Read `http://login:password@host:15672`; a login that is left out is the broker's.

        Raises:
            InvalidInputError: if it is no such URL; the message does not repeat it.
        """
        address = Address.parse(broker)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInputError(
                "the management address must look like http://host:15672, with "
                "login:password@ before the host if they are not those of --broker"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            url=f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}",
            login=unquote(parts.username) if parts.username else address.login,
            password=unquote(parts.password) if parts.password else address.password or "",
            vhost=address.vhost,
            tls=tls if parts.scheme == "https" else None,
        )

    def queues(self, federation: str) -> list[QueueNews]:
        """Return the federation's queues by name.

        Raises:
            ManagementUnreachableError: if it does not answer, or not to this login.
        """
        return sorted(self._queues(federation), key=lambda queue: queue.name)

    def _queues(self, federation: str) -> Iterator[QueueNews]:
        page = num_pages = 1
        while page <= num_pages:
            query = {
                "page": page,
                "page_size": PAGE_SIZE,
                "name": f"^{federation}[.]",
                "use_regex": "true",
                "pagination": "true",
            }
            answer = self._get(f"/api/queues/{quote(self.vhost, safe='')}?{urlencode(query)}")
            num_pages, page = answer["page_count"], page + 1
            for queue in answer["items"]:
                yield QueueNews(
                    name=queue["name"],
                    ready=queue.get("messages_ready", 0),
                    unacknowledged=queue.get("messages_unacknowledged", 0),
                    consumers=queue.get("consumers", 0),
                    num_bytes=queue.get("message_bytes", 0),
                )

    def _get(self, path: str) -> Any:
        login = b64encode(f"{self.login}:{self.password}".encode()).decode()
        request = Request(  # noqa: S310 - only http and https pass `of`
            self.url + path, headers={"Authorization": f"Basic {login}"}
        )
        try:
            with urlopen(  # noqa: S310 - as above
                request, timeout=ANSWER_SECONDS, context=self.tls
            ) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise ManagementUnreachableError(
                    f"the management API at {self.url} refuses the login {self.login!r}: "
                    "it needs the tag management or monitoring, and rights on the vhost"
                ) from None
            raise ManagementUnreachableError(
                f"the management API at {self.url} answers {error.code} {error.reason}"
            ) from None
        except (URLError, OSError, json.JSONDecodeError) as error:
            reason = getattr(error, "reason", error)
            raise ManagementUnreachableError(
                f"there is no management API at {self.url} ({reason})"
            ) from None
