"""Facts about tensors that are kept whole on the disk."""

from pathlib import Path

import pytest
import torch

from fanfold.coordinator.persistence.kept_tensors import KeptTensors
from fanfold.storage.safetensors_file import DamagedFileError

TENSORS = {
    "w": torch.arange(12, dtype=torch.float32).view(3, 4),
    "half": torch.ones(5, dtype=torch.bfloat16),
    "none": torch.zeros(0),
    "count": torch.tensor(7, dtype=torch.uint16),
}


def kept(folder: Path) -> KeptTensors:
    store = KeptTensors(folder / "kept")
    store.put("a", TENSORS)
    store.sync()
    return store


def test_what_was_put_is_read_in_parts_or_whole(tmp_path: Path) -> None:
    """By another store too, as after a crash."""
    kept(tmp_path)
    found = KeptTensors(tmp_path / "kept").get("a")
    assert set(found.names) == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found.load(name), tensor)
    assert found.read("w", 3, 6).tolist() == [3, 4, 5]
    assert found.read("none", 0, 0).shape == (0,)
    assert "w" in found
    assert "v" not in found


def test_what_was_dropped_stays_for_a_round(tmp_path: Path) -> None:
    """Commits inside a round take nothing: the checkpoint before may be the one that is left."""
    store = kept(tmp_path)
    store.put("b", TENSORS)
    store.committed(1)
    store.drop("a")
    store.drop("b", rounds=2)
    there = []
    for version in (2, 2, 3, 3, 4, 5):
        store.committed(version)
        there.append(sorted(path.stem for path in (tmp_path / "kept").iterdir()))
    assert there == [["a", "b"], ["a", "b"], ["b"], ["b"], [], []]


def test_what_nobody_names_goes_at_a_start(tmp_path: Path) -> None:
    """Where there is no folder yet, there is nothing to do."""
    KeptTensors(tmp_path / "nothing").keep_only(["a"])
    store = kept(tmp_path)
    store.put("b", TENSORS)
    store.keep_only(["b"])
    assert [path.stem for path in (tmp_path / "kept").iterdir()] == ["b"]


@pytest.mark.parametrize("damage", ["a bit", "the end", "all", "the header"])
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    """Whatever it is, in words."""
    store = kept(tmp_path)
    path = tmp_path / "kept" / "a.safetensors"
    content = bytearray(path.read_bytes())
    assert store.damage("a") is None
    if damage == "a bit":
        content[-1] ^= 1
    elif damage == "the header":
        content[:8] = b"\xff" * 8
    path.write_bytes(content[:-1] if damage == "the end" else content)
    if damage == "all":
        path.unlink()
        with pytest.raises(DamagedFileError, match="cannot be read"):
            store.get("a")
    assert store.damage("a")


def test_a_file_that_ends_too_early_is_damaged(tmp_path: Path) -> None:
    """Where the tensor itself is read, too."""
    store = kept(tmp_path)
    path = tmp_path / "kept" / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    found = store.get("a")
    with pytest.raises(DamagedFileError, match="ends before 'w'"):
        found.load("w")
