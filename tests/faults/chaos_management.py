"""What an operator does in RabbitMQ's management UI, through the API behind it."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
from nodes import BrokerNode

API_SECONDS = 60.0


class ManagementClient:
    """The management API of one node. It starts after the broker, so calls wait for it."""

    def __init__(self, broker: BrokerNode, rest: Callable[[float], None]) -> None:
        """Use `rest` to let time pass."""
        self._broker = broker
        self._rest = rest

    def call(self, method: str, path: str) -> str:
        """Return an answer's body.

        Raises:
            httpx.HTTPStatusError: if there is no such thing.
        """
        deadline = time.monotonic() + API_SECONDS
        while True:
            try:
                return self._broker.api(method, path)
            except httpx.HTTPError as error:
                if _is_missing(error) or time.monotonic() > deadline:
                    raise
                self._rest(0.5)

    def exists(self, path: str) -> bool:
        """Whether there is such a thing."""
        try:
            self.call("GET", path)
        except httpx.HTTPStatusError as error:
            if not _is_missing(error):
                raise
            return False
        return True

    def connections(self, role: str, participant: str | None = None) -> list[str]:
        """Return the names of the connections of a role, or of one participant."""
        found: list[dict[str, Any]] = json.loads(self.call("GET", "/api/connections"))
        return [
            each["name"]
            for each in found
            if each.get("client_properties", {}).get("role") == role
            and participant in (None, each["client_properties"].get("participant"))
        ]


def _is_missing(error: httpx.HTTPError) -> bool:
    return (
        isinstance(error, httpx.HTTPStatusError)
        and error.response.status_code == httpx.codes.NOT_FOUND
    )
