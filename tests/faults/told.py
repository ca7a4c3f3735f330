"""What services told, read as it is written."""

import json
from pathlib import Path
from typing import Any


class Told:
    """The events of one file of JSON lines, over all starts of a service.

    Only what is new is read: a long run would be read ten thousand times otherwise.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._events: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """Return everything that was told; a kill may have cut a line short."""
        if self._path.exists() and self._path.stat().st_size > self._offset:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
            self._offset += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            for line in lines:
                self._events += _parsed(line)
        return self._events

    def count(self, event: str) -> int:
        """Return how often an event was told."""
        return sum(each["event"] == event for each in self.events())


def _parsed(line: bytes) -> list[dict[str, Any]]:
    """Return the event on a line; after half a line of a killed process follows a whole one."""
    begin = line.rfind(b'{"event"')
    try:
        return [json.loads(line[max(begin, 0) :])]
    except ValueError:
        return []
