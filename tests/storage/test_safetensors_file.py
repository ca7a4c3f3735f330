"""Facts about files of tensors: anybody can read them, and damage is noticed."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fanfold.schemas.tensor_codec import DTYPES
from fanfold.storage import safetensors_file

ALL = {
    f"tensor/{name}": torch.arange(5).to(dtype).reshape(5, 1) for name, dtype in DTYPES.items()
} | {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "turned": torch.ones(2, 3).T}


def test_the_librarys_own_reader_reads_every_dtype(tmp_path: Path) -> None:
    """Scalars, empty tensors and tensors that are not contiguous too."""
    path = tmp_path / "all.safetensors"
    safetensors_file.write(path, ALL, {"note": "hello"})
    loaded = load_file(path)
    assert loaded.keys() == ALL.keys()
    for name, tensor in ALL.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(loaded[name].double(), tensor.double())
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["note"] == "hello"


def test_our_reader_returns_what_was_written(tmp_path: Path) -> None:
    """The checksum is our own affair, and not among the metadata."""
    path = tmp_path / "all.safetensors"
    safetensors_file.replace(path, ALL, {"note": "hello"})
    tensors, metadata = safetensors_file.read(path)
    assert metadata == {"note": "hello"}
    assert all(torch.equal(tensors[name].double(), ALL[name].double()) for name in ALL)
    assert [file.name for file in tmp_path.iterdir()] == ["all.safetensors"]


@pytest.mark.parametrize("at", [-1, -20])
def test_a_changed_byte_is_noticed(tmp_path: Path, at: int) -> None:
    """A format without a checksum would return it as if nothing had happened."""
    path = tmp_path / "w.safetensors"
    safetensors_file.write(path, {"w": torch.ones(100)}, {})
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(safetensors_file.DamagedFileError, match="its checksum differs"):
        safetensors_file.read(path)


@pytest.mark.parametrize("length", [0, 7, 40, -1])
def test_a_torn_file_is_noticed(tmp_path: Path, length: int) -> None:
    """However much of it was written."""
    path = tmp_path / "w.safetensors"
    safetensors_file.write(path, {"w": torch.ones(100)}, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(safetensors_file.DamagedFileError, match="not a whole safetensors file"):
        safetensors_file.read(path)
