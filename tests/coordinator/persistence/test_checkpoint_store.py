"""Facts about two files that take turns: whatever a crash leaves, the newest whole one is found."""

from pathlib import Path

import pytest
import torch

from fanfold.coordinator.persistence import checkpoint_store as checkpoint_module
from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.schemas.errors import InvalidInputError
from fanfold.storage import safetensors_file

TENSORS = {"w": torch.arange(1000.0)}
NEWEST, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
INCOMING = "checkpoint.safetensors.incoming"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder after three commits."""
    checkpoints = CheckpointStore(tmp_path)
    for number in (1, 2, 3):
        checkpoints.write({"commit": number}, {"w": TENSORS["w"] + number})
    return tmp_path


def damage(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def commit_found(folder: Path) -> int:
    checkpoint = CheckpointStore(folder).read()
    assert checkpoint is not None
    assert torch.equal(checkpoint.tensors["w"], TENSORS["w"] + checkpoint.document["commit"])
    return int(checkpoint.document["commit"])


def test_the_last_commit_is_the_newest_and_the_one_before_it_stays(folder: Path) -> None:
    assert commit_found(folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == [PREVIOUS, NEWEST]
    damage(folder / NEWEST)
    checkpoint = CheckpointStore(folder).read()
    assert checkpoint is not None
    assert checkpoint.is_previous
    assert checkpoint.document["commit"] == 2


def test_a_commit_overwrites_the_older_file_in_its_place(folder: Path) -> None:
    """No new file: that is what makes the sync cheap."""
    before = {(folder / name).stat().st_ino for name in (NEWEST, PREVIOUS)}
    checkpoints = CheckpointStore(folder)
    checkpoints.read()
    checkpoints.write({"commit": 4}, {"w": TENSORS["w"] + 4})
    assert {(folder / name).stat().st_ino for name in (NEWEST, PREVIOUS)} == before
    assert commit_found(folder) == 4


@pytest.mark.parametrize("name", [NEWEST, PREVIOUS, INCOMING])
@pytest.mark.parametrize("other", [NEWEST, PREVIOUS, INCOMING])
def test_names_that_a_power_cut_left_behind_do_not_matter(
    folder: Path, name: str, other: str
) -> None:
    """Renames are not waited for: the files may have any of their names, the number decides."""
    if name == other:
        return
    (folder / NEWEST).rename(folder / "third")
    (folder / PREVIOUS).rename(folder / "second")
    (folder / "third").rename(folder / name)
    (folder / "second").rename(folder / other)

    checkpoints = CheckpointStore(folder)
    found = checkpoints.read()
    assert found is not None
    assert found.document["commit"] == 3
    checkpoints.write({"commit": 4}, {"w": TENSORS["w"] + 4})
    damage(folder / NEWEST)
    assert commit_found(folder) == 3


def test_a_file_that_was_being_overwritten_is_passed_over(folder: Path) -> None:
    """A crash in the middle of a commit: the newest one was not touched."""
    (folder / PREVIOUS).rename(folder / INCOMING)
    damage(folder / INCOMING)
    found = CheckpointStore(folder).read()
    assert found is not None
    assert found.document["commit"] == 3
    assert not found.is_previous


def test_a_newest_file_that_is_gone_is_known_to_be_missing(folder: Path) -> None:
    """Whoever removed it, what it counted is lost: the next one must not take it for never done."""
    (folder / NEWEST).unlink()
    checkpoint = CheckpointStore(folder).read()
    assert checkpoint is not None
    assert (checkpoint.document["commit"], checkpoint.is_previous) == (2, True)
    again = CheckpointStore(folder).read()
    assert again is not None
    assert not again.is_previous


@pytest.mark.parametrize(("change", "age"), [(1, "a newer"), (-1, "an older")])
def test_a_checkpoint_of_another_format_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: int, age: str
) -> None:
    """It may mean what this version does not know."""
    other = checkpoint_module.FORMAT + change
    monkeypatch.setattr(checkpoint_module, "FORMAT", other)
    CheckpointStore(tmp_path).write({}, TENSORS)
    monkeypatch.undo()
    with pytest.raises(
        InvalidInputError, match=rf"{age} Fanfold \(checkpoint format {other}, this one"
    ):
        CheckpointStore(tmp_path).read()


def test_a_first_commit_that_never_ended_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / INCOMING).write_bytes(b"half a header")
    assert CheckpointStore(tmp_path).read() is None


def test_a_torn_header_is_noticed(folder: Path) -> None:
    """The checksum covers the header too: overwriting in place can leave half an old one."""
    for name in (NEWEST, PREVIOUS):
        content = (folder / name).read_bytes()
        damage(folder / name, content.index(b'"id":"') + len(b'"id":"'))
    with pytest.raises(InvalidInputError, match=r"no checkpoint in .* can be read"):
        CheckpointStore(folder).read()


def test_a_shorter_checkpoint_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    """A running sum is in one checkpoint and not in the next: the file shrinks."""
    path = tmp_path / "file"
    safetensors_file.write(path, {"a": torch.ones(100_000), "b": torch.ones(5)}, {})
    safetensors_file.write(path, TENSORS, {"k": "v"})
    tensors, metadata = safetensors_file.read(path)
    assert torch.equal(tensors["w"], TENSORS["w"])
    assert metadata == {"k": "v"}
