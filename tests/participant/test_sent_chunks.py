"""Facts about what a participant knows of an upload that was cut off."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from fanfold.participant.sent_chunks import FILE, SentChunks
from fanfold.participant.state_folder import tidy
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import Update
from fanfold.schemas.tensor_codec import encode_tensors


def encoded(value: float = 1.0) -> Encoded:
    update = Update(
        run="run", participant="ann", base_version=3, base_digest="a" * 64, num_examples=7
    )
    return encode_tensors(update, {"w": torch.full((1300,), value)}, kinds={"w": "delta"})


ALL = cut(encoded(), chunk_bytes=1024)


def places(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.header.index for chunk in chunks]


def sent_before(folder: Path, *indices: int) -> None:
    folder.mkdir(exist_ok=True)
    sent = SentChunks(folder)
    sent.missing(ALL)
    for index in indices:
        sent.add(index)


def test_the_next_process_sends_what_is_missing(tmp_path: Path) -> None:
    """In whatever order the broker confirmed; and the one after that, too."""
    sent_before(tmp_path, 0, 2)
    again = SentChunks(tmp_path)
    assert places(again.missing(ALL)) == [1, 3, 4, 5]
    again.add(4)
    assert places(SentChunks(tmp_path).missing(ALL)) == [1, 3, 5]


@pytest.mark.parametrize(
    "others",
    [cut(encoded(2.0), chunk_bytes=1024), cut(encoded(), chunk_bytes=2048)],
    ids=["another update", "the same one cut differently"],
)
def test_another_message_is_sent_whole(tmp_path: Path, others: list[Chunk]) -> None:
    sent_before(tmp_path, 0, 2)
    sent = SentChunks(tmp_path)
    assert sent.missing(others) == others
    sent.add(1)
    assert places(SentChunks(tmp_path).missing(others)) == [0, *range(2, len(others))]
    assert SentChunks(tmp_path).missing(ALL) == ALL


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:-1] + b"\2",
        lambda content: bytes(len(content)),
        lambda _content: b"",
    ],
    ids=["short", "long", "another flag", "zeros", "empty"],
)
def test_a_damaged_file_is_no_file(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    sent_before(tmp_path, 0, 2)
    (tmp_path / FILE).write_bytes(damage((tmp_path / FILE).read_bytes()))
    assert SentChunks(tmp_path).missing(ALL) == ALL


def test_an_update_that_is_sent_is_sent_whole_if_it_is_asked_for_again(tmp_path: Path) -> None:
    """Also if the process was killed before it could remove the file."""
    sent_before(tmp_path, *range(6))
    assert SentChunks(tmp_path).missing(ALL) == ALL
    sent = SentChunks(tmp_path)
    for _ in range(2):
        assert sent.missing(ALL) == ALL
        for index in range(6):
            sent.add(index)
        sent.forget()
        assert not (tmp_path / FILE).exists()


def test_an_update_of_one_chunk_costs_no_file(tmp_path: Path) -> None:
    one = cut(encoded())
    sent = SentChunks(tmp_path)
    assert sent.missing(one) == one
    sent.add(0)
    assert not any(tmp_path.iterdir())


def test_without_a_folder_this_process_knows_it() -> None:
    sent = SentChunks(None)
    sent.missing(ALL)
    sent.add(3)
    assert places(sent.missing(ALL)) == [0, 1, 2, 4, 5]
    sent.forget()
    assert sent.missing(ALL) == ALL


def test_a_disk_that_refuses_is_told_once_and_ends_no_upload(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    sent = SentChunks(tmp_path)
    with capture_logs() as logs:
        assert sent.missing(ALL) == ALL
        sent.add(0)
        sent.add(1)
        assert places(sent.missing(ALL)) == [2, 3, 4, 5]
        sent.forget()
    assert [each["event"] for each in logs] == [
        "--state-dir does not say which chunks were sent; a restart sends them again"
    ]


def test_the_end_of_a_run_leaves_no_file(tmp_path: Path) -> None:
    sent_before(tmp_path / "run", 0)
    tidy(tmp_path / "run")
    assert not (tmp_path / "run").exists()
