"""Reads files of JSON lines as they grow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

HEAD_BYTES = 256
"""By which a file is known again."""


class Follower:
    """The lines of one file, each once; used by one thread. No file stays open.

    A file that is replaced by another, or becomes shorter, is read from its begin. A line that is
    not whole yet is left for later, and one that is no JSON object is passed over: a crash or a
    full disk may have cut it.

    Args:
        path: of the file, which need not be there.
        turned_over: what it is renamed to when it grows too long; read before it.
    """

    def __init__(self, path: Path, turned_over: Path | None = None) -> None:
        self._path = path
        self._turned_over = turned_over
        self._head = b""
        self._offset = 0
        self.restarts = 0
        """How often another file took the place of the one that was read."""

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that came since the last call.

        Raises:
            OSError: if the file is there and cannot be read.
        """
        try:
            if self._path.stat().st_size == self._offset:
                return
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if not self._is_known(file):
                yield from self._before()
                self.restarts += self._offset > 0
                self._offset = 0
                file.seek(0)
                self._head = file.read(HEAD_BYTES)
            elif len(self._head) < HEAD_BYTES:
                file.seek(0)
                self._head = file.read(HEAD_BYTES)
            yield from self._rest(file)

    def _is_known(self, file: BinaryIO) -> bool:
        """Whether it begins with what was read, and is no shorter."""
        return file.read(len(self._head)) == self._head and file.seek(0, 2) >= self._offset > 0

    def _before(self) -> Iterator[dict[str, Any]]:
        """Yield what is left of the file that was turned over: all of it, before the first look."""
        if self._turned_over is None:
            return
        try:
            file = self._turned_over.open("rb")
        except FileNotFoundError:
            return
        with file:
            if self._offset == 0 or self._is_known(file):
                yield from self._rest(file)

    def _rest(self, file: BinaryIO) -> Iterator[dict[str, Any]]:
        file.seek(self._offset)
        while (line := file.readline()).endswith(b"\n"):
            self._offset += len(line)
            record = _record(line)
            if record is not None:
                yield record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        return None
    record.pop("chain", None)
    return record
