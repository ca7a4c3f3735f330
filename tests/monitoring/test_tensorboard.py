"""Event files, read back by the letter of their format."""

import os
import struct
import sys
from pathlib import Path

import pytest
import structlog
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from fanfold.monitoring.tensorboard import EventFile
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.coordinator import ParticipantJoined, RoundClosed

ROUND = RoundClosed(
    round=300,
    version=300,
    loss=0.5,
    accuracy=None,
    updates=4,
    examples=1437,
    seconds=1.25,
    bytes_down=1_000_000,
    bytes_up=2_000_000,
    metrics={"f1": 0.75},
)


def events(folder: Path) -> list[Event]:
    """Read every event of the one file in a folder, as TensorBoard would."""
    (path,) = folder.glob("events.out.tfevents.*")
    rest, found = path.read_bytes(), []
    while rest:
        (length,) = struct.unpack("<Q", rest[:8])
        data = rest[12 : 12 + length]
        assert rest[8:12] == checksum(rest[:8])
        assert rest[12 + length : 16 + length] == checksum(data)
        found.append(Event.FromString(data))
        rest = rest[16 + length :]
    return found


def checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted by a constant, as the format asks for."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def test_a_closed_round_is_one_point_on_each_curve(tmp_path: Path) -> None:
    """What is unknown has no point; a task's own metrics have curves too."""
    with EventFile(tmp_path) as file:
        file.hear(ParticipantJoined("ada"))
        file.hear(ROUND)

    version, event = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert event.step == 300
    assert {value.tag: value.simple_value for value in event.summary.value} == {
        "round/loss": 0.5,
        "round/updates": 4.0,
        "round/examples": 1437.0,
        "round/seconds": 1.25,
        "round/bytes_down": 1_000_000.0,
        "round/bytes_up": 2_000_000.0,
        "metrics/f1": 0.75,
    }


def test_a_point_can_be_seen_at_once(tmp_path: Path) -> None:
    """TensorBoard reads along, and a coordinator that is killed has lost none."""
    with EventFile(tmp_path) as file:
        file.hear(ROUND)
        assert [event.step for event in events(tmp_path)] == [0, 300]


def test_a_full_disk_costs_a_point_and_not_the_run(tmp_path: Path) -> None:
    """However many rounds it lasts."""
    with structlog.testing.capture_logs() as logs, EventFile(tmp_path) as file:
        file._file.close()
        file._file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")
        for _ in range(20):
            file.hear(ROUND)

    assert {line["event"] for line in logs} == {
        "no room for a point of --tensorboard",
        "the last points of --tensorboard are lost",
    }
    assert len(logs) == 21


def test_without_the_package_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator reads what to install."""
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)

    with pytest.raises(InvalidInputError, match=r"pip install -e '\.\[tensorboard\]'"):
        EventFile(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_one_clear_sentence(tmp_path: Path) -> None:
    """The operator reads which option to change."""
    (tmp_path / "file").touch()

    with pytest.raises(InvalidInputError, match=r"^--tensorboard .* cannot be written to"):
        EventFile(tmp_path / "file")
