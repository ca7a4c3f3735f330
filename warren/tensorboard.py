"""A run's curves as a TensorBoard event file, without TensorBoard's own packages.

An event file is a row of records, each `length (uint64) | crc of the length | data | crc of the
data`, little endian; data is a protocol buffer `Event`, of which we need four fields:
`wall_time = 1` (double), `step = 2` (int64), `file_version = 3` (string) and `summary = 5`, a list
of `Value` (field 1) with `tag = 1` (string) and `simple_value = 2` (float).
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from schemas.errors import InvalidInputError

SCALARS = ("loss", "accuracy", "updates", "examples", "seconds", "bytes_down", "bytes_up")
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # the protocol buffers' wire types
_CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, bits reversed
_MASK = 0xA282EAD8


class EventFile:
    """One file in a folder that `tensorboard --logdir` shows. Use it as a context manager.

    Args:
        folder: where it goes; every start of a coordinator begins another file, which TensorBoard
            joins.

    Raises:
        InvalidInputError: if it cannot be written there.
    """

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / name).open("ab")
        except OSError as error:
            raise InvalidInputError(
                f"--tensorboard {folder} cannot be written to ({error.strerror}); "
                "choose another folder"
            ) from None
        self._write(_field(3, _BYTES, b"brain.Event:2"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def hear(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write the numbers of a closed round; other events have no curve."""
        if event != "round_closed":
            return
        scalars = {f"round/{name}": fields[name] for name in SCALARS}
        scalars |= {f"metrics/{name}": value for name, value in fields.get("metrics", {}).items()}
        self.add(fields["round"], {tag: x for tag, x in scalars.items() if x is not None})

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one point of each curve."""
        summary = b"".join(
            _field(
                1,
                _BYTES,
                _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, struct.pack("<f", value)),
            )
            for tag, value in scalars.items()
        )
        self._write(_field(2, _VARINT, _varint(step)) + _field(5, _BYTES, summary))

    def _write(self, event: bytes) -> None:
        data = _field(1, _DOUBLE, struct.pack("<d", time.time())) + event
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))
        self._file.flush()


def _field(number: int, kind: int, content: bytes) -> bytes:
    length = _varint(len(content)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + length + content


def _varint(value: int) -> bytes:
    """Seven bits to a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted by a constant, as the format asks for."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
