"""Safetensors files with a checksum, written tensor by tensor.

The format is that of the safetensors library (https://github.com/huggingface/safetensors, README,
"Format"), which reads these files. Its own writer copies all tensors before it writes; this one
copies at most one at a time.
"""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fanfold.storage.compact_json import compact_json
from fanfold.storage.disk import replacing

_NAMES = {
    torch.bool: "BOOL",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_BLOCK_BYTES = 1 << 20
_MULTIPLE = 8
"""The length of a header is a multiple of this, in bytes."""
_CHECKSUM = "crc32"
_NO_CHECKSUM = "00000000"


class DamagedFileError(ValueError):
    """Raised when a file is no safetensors file, is truncated, or was changed after writing."""


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    header_multiple: int = _MULTIPLE,
) -> None:
    """Write `path` with these tensors and metadata, and sync it.

    The CRC-32 of header and data goes into the metadata. A file that exists is overwritten in
    place: where its size stays the same, a journaling file system writes no new metadata of its own
    and the sync takes a third of the time. Until this returns, such a file is damaged.

    Args:
        path: the file.
        tensors: by name, on any device.
        metadata: texts by name.
        header_multiple: the header is padded to a multiple of so many bytes, itself a multiple of
            8. A large one keeps the file's size the same when the metadata change.

    Raises:
        OSError: if the disk refuses; the file may be written in part.
    """
    # r+ and not w: truncating the file first would release its blocks.
    with path.open("r+b" if path.exists() else "wb") as file:
        _write(file, tensors, metadata, header_multiple)
        file.flush()
        _sync_data(file.fileno())


def replace(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Replace `path` and sync it: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: if the disk refuses; the old file is still there.
    """
    with replacing(path) as file:
        _write(file, tensors, metadata, _MULTIPLE)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors and metadata.

    Raises:
        DamagedFileError: if the file is truncated, changed, or no safetensors file.
        OSError: if it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is not a whole safetensors file: {error}") from None
    written = metadata.pop(_CHECKSUM, None)
    if written is not None:
        checksum = zlib.crc32(_header_without_checksum(path, written))
        for name in sorted(tensors):
            checksum = zlib.crc32(_raw(tensors[name]), checksum)
        if f"{checksum:08x}" != written:
            raise DamagedFileError(f"{path} was changed after it was written: its checksum differs")
    return tensors, metadata


def check(path: Path) -> None:
    """Hold a file against its checksum; no more than a block of it is in memory at a time.

    Raises:
        DamagedFileError: if the file is truncated, changed, or no safetensors file with a checksum.
        OSError: if it cannot be read.
    """
    written = read_metadata(path).get(_CHECKSUM)
    if written is None:
        raise DamagedFileError(f"{path} has no checksum")
    header = _header_without_checksum(path, written)
    checksum = zlib.crc32(header)
    with path.open("rb") as file:
        file.seek(len(header))
        while block := file.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    if f"{checksum:08x}" != written:
        raise DamagedFileError(f"{path} was changed after it was written: its checksum differs")


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype that a file's header names."""
    return _DTYPES[name]


def read_metadata(path: Path) -> dict[str, str]:
    """Return a file's metadata without checking that the file is complete.

    Raises:
        DamagedFileError: if it is no safetensors file.
        OSError: if it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is not a whole safetensors file: {error}") from None


# fdatasync leaves out the time of the last change, which nothing here reads; macOS lacks it.
_sync_data = getattr(os, "fdatasync", os.fsync)


def _write(
    file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], multiple: int
) -> None:
    header, checksum_at = _header(tensors, metadata, multiple)
    file.write(header)
    checksum = zlib.crc32(header)
    for name in sorted(tensors):
        data = _raw(tensors[name])
        checksum = zlib.crc32(data, checksum)
        file.write(data)
    file.truncate()
    file.seek(checksum_at)
    file.write(f"{checksum:08x}".encode())


def _header(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], multiple: int
) -> tuple[bytes, int]:
    """Return the header, padded, and the position of the checksum in it."""
    entries: dict[str, object] = {"__metadata__": {**metadata, _CHECKSUM: _NO_CHECKSUM}}
    position = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        end = position + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = compact_json(entries).encode()
    text += b" " * (-(len(text) + 8) % multiple)
    marker = _marker(_NO_CHECKSUM)
    return len(text).to_bytes(8, "little") + text, 8 + text.index(marker) + len(marker) - 9


def _header_without_checksum(path: Path, checksum: str) -> bytes:
    """Return the header as it was when the checksum was computed."""
    with path.open("rb") as file:
        length = file.read(8)
        text = file.read(int.from_bytes(length, "little"))
    return length + text.replace(_marker(checksum), _marker(_NO_CHECKSUM), 1)


def _marker(checksum: str) -> bytes:
    return f'"{_CHECKSUM}":"{checksum}"'.encode()


def _raw(tensor: Tensor) -> memoryview:
    """Return a tensor's bytes in C order; copies only if it is not contiguous or not on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy().data) if flat.numel() else memoryview(b"")
