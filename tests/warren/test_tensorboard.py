"""Event files, read back by the letter of their format."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import InvalidInputError
from warren.tensorboard import EventFile, _checksum

ROUND = {
    "round": 300,
    "loss": 0.5,
    "accuracy": None,
    "updates": 4,
    "examples": 1437,
    "seconds": 1.25,
    "bytes_down": 1_000_000,
    "bytes_up": 2_000_000,
    "metrics": {"f1": 0.75},
}


def records(path: Path) -> Iterator[bytes]:
    """Yield the data of each record, its two checksums verified."""
    rest = path.read_bytes()
    while rest:
        length = struct.unpack("<Q", rest[:8])[0]
        assert rest[8:12] == _checksum(rest[:8])
        data, rest = rest[12 : 12 + length], rest[12 + length :]
        assert rest[:4] == _checksum(data)
        rest = rest[4:]
        yield data


def varint(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, data[index + 1 :]
    raise ValueError("a varint without an end")


def fields(data: bytes) -> dict[int, list[bytes | int]]:
    """Return the fields of a protocol buffer by number."""
    found: dict[int, list[bytes | int]] = {}
    while data:
        key, data = varint(data)
        value: bytes | int
        match key & 7:
            case 0:
                value, data = varint(data)
            case 1:
                value, data = data[:8], data[8:]
            case 2:
                length, data = varint(data)
                value, data = data[:length], data[length:]
            case 5:
                value, data = data[:4], data[4:]
        found.setdefault(key >> 3, []).append(value)
    return found


def test_the_checksum_is_the_masked_crc_32c() -> None:
    """CRC-32C of "123456789" is E3069283 (RFC 3720, B.4); masked as the format says."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    assert _checksum(b"123456789") == struct.pack("<I", masked)


def test_a_closed_round_is_one_point_on_each_curve(tmp_path: Path) -> None:
    """What is unknown has no point; a task's own metrics have curves too."""
    with EventFile(tmp_path) as file:
        file.hear("participant_joined", {"participant": "ada"})
        file.hear("round_closed", ROUND)

    version, event = records(next(tmp_path.glob("events.out.tfevents.*")))
    assert fields(version)[3] == [b"brain.Event:2"]
    assert fields(event)[2] == [300]
    values = [fields(value) for value in fields(fields(event)[5][0])[1]]  # type: ignore[arg-type] # a message
    curves = {value[1][0]: struct.unpack("<f", value[2][0])[0] for value in values}  # type: ignore[arg-type] # a float
    assert curves == {
        b"round/loss": 0.5,
        b"round/updates": 4.0,
        b"round/examples": 1437.0,
        b"round/seconds": 1.25,
        b"round/bytes_down": 1_000_000.0,
        b"round/bytes_up": 2_000_000.0,
        b"metrics/f1": 0.75,
    }


def test_a_folder_that_cannot_be_written_to_is_one_clear_sentence(tmp_path: Path) -> None:
    """The operator reads which option to change."""
    (tmp_path / "file").touch()

    with pytest.raises(InvalidInputError, match=r"^--tensorboard .* cannot be written to"):
        EventFile(tmp_path / "file")
