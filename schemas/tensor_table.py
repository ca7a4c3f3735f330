"""The tensor table: which tensors a message carries, and where each lies in the data region."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from fanfold.schemas.encodings import LOSSY_DTYPES, MAX_INDEXED_VALUES, Encoding
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.reader_limits import (
    MAX_DIMENSIONS,
    MAX_TENSOR_NAME_BYTES,
    MAX_VALUES,
    ReaderLimits,
)

Kind = Literal["delta", "value"]
"""How an update carries a tensor: as trained minus base, or as the trained value itself."""

_KINDS = get_args(Kind)

Carried = Literal["none", "values", "changes"]
"""What a message carries: no tensors, all of them as they are, or each as its kind says."""

ALIGNMENT = 64
"""Every tensor begins on a multiple of this, in bytes, so that it can be used where it lies."""

DTYPE_BYTES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}

_ROW_TYPES = [str, str, list, str, str, int, int]


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One row of the table. The range is in bytes from the start of the data region."""

    name: str
    dtype: str
    """Of the values once decoded; their bytes on the wire follow from `encoding`."""
    shape: tuple[int, ...]
    kind: Kind
    encoding: str
    begin: int
    end: int

    @property
    def num_values(self) -> int:
        """The product of the shape; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def num_decoded_bytes(self) -> int:
        """Bytes of the tensor once decoded."""
        return self.num_values * DTYPE_BYTES[self.dtype]

    def row(self) -> list[object]:
        """Return this entry as the header document holds it."""
        shape = list(self.shape)
        return [self.name, self.dtype, shape, self.kind, self.encoding, self.begin, self.end]


def aligned(offset: int) -> int:
    """Return the first multiple of the alignment that is not before `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def read_table(rows: object, *, carried: Carried, limits: ReaderLimits) -> tuple[TensorEntry, ...]:
    """Return the entries of a table from the network, every one of them checked.

    Args:
        rows: what the header document holds under `tensors`.
        carried: what this message carries.
        limits: the reader's bounds.

    Raises:
        MalformedMessageError: if it is not a table of tensors, in order and within the limits.
    """
    if not isinstance(rows, list):
        raise MalformedMessageError("the tensor table is not a list")
    if len(rows) > limits.max_tensors:
        raise MalformedMessageError(
            f"the table has {len(rows)} tensors, this reader takes {limits.max_tensors}"
        )
    entries = tuple(_read_row(row) for row in rows)
    check_table(entries, carried=carried, limits=limits)
    return entries


def check_table(entries: Sequence[TensorEntry], *, carried: Carried, limits: ReaderLimits) -> None:
    """Check a whole table: names unique, ranges in their only possible places, sizes bounded.

    Raises:
        MalformedMessageError: if it is not so.
    """
    _check(tuple(entries), carried, limits)


@lru_cache(maxsize=8)  # the messages of a run have the same few tables, round after round
def _check(entries: tuple[TensorEntry, ...], carried: Carried, limits: ReaderLimits) -> None:
    names: set[str] = set()
    end = 0
    num_decoded_bytes = 0
    for entry in entries:
        _check_entry(entry, carried)
        if entry.name in names:
            raise MalformedMessageError(f"two tensors are named {entry.name!r}")
        if entry.begin != aligned(end):
            raise MalformedMessageError(
                f"tensor {entry.name!r} begins at {entry.begin}, its place is {aligned(end)}"
            )
        names.add(entry.name)
        end = entry.end
        num_decoded_bytes += entry.num_decoded_bytes
        if num_decoded_bytes > limits.max_bytes:
            raise MalformedMessageError(
                f"the tensors decode to more than the {limits.max_bytes} bytes this reader takes"
            )


def _read_row(row: object) -> TensorEntry:
    # By `type`, because True is an int to `isinstance` and to patterns, which also take longer.
    if type(row) is list and [*map(type, row)] == _ROW_TYPES:
        name, dtype, shape, kind, encoding, begin, end = row
        if kind in _KINDS and all(type(size) is int for size in shape):
            return TensorEntry(name, dtype, tuple(shape), kind, encoding, begin, end)
    raise MalformedMessageError(
        "a row of the tensor table is not [name, dtype, shape, kind, encoding, begin, end]"
    )


def _check_entry(entry: TensorEntry, carried: Carried) -> None:
    _check_name(entry.name)
    if carried == "none":
        raise MalformedMessageError(
            f"tensor {entry.name!r} is in a message of a kind that carries none"
        )
    if entry.dtype not in DTYPE_BYTES:
        raise MalformedMessageError(f"tensor {entry.name!r} has unknown dtype {entry.dtype[:64]!r}")
    _check_shape(entry)
    if entry.kind == "delta" and not entry.dtype.startswith(("float", "bfloat", "int32")):
        raise MalformedMessageError(f"tensor {entry.name!r} is a delta of {entry.dtype}")
    expected = entry.begin + _check_encoding(entry, carried).num_bytes(
        entry.num_values, DTYPE_BYTES[entry.dtype]
    )
    if entry.end != expected:
        raise MalformedMessageError(
            f"tensor {entry.name!r} ends at {entry.end}; its shape and encoding make it {expected}"
        )


def _check_name(name: str) -> None:
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise MalformedMessageError(f"tensor name {name[:64]!r} is not Unicode text") from error
    if not 0 < length <= MAX_TENSOR_NAME_BYTES or "\0" in name:
        raise MalformedMessageError(
            f"tensor name {name[:64]!r} is not 1 to {MAX_TENSOR_NAME_BYTES} bytes without NUL"
        )


def _check_shape(entry: TensorEntry) -> None:
    if len(entry.shape) > MAX_DIMENSIONS:
        raise MalformedMessageError(
            f"tensor {entry.name!r} has {len(entry.shape)} dimensions, at most {MAX_DIMENSIONS}"
        )
    # Zero-length dimensions must not hide others that would overflow a stride.
    if min(entry.shape, default=0) < 0 or math.prod(filter(None, entry.shape)) > MAX_VALUES:
        raise MalformedMessageError(f"tensor {entry.name!r} has an impossible shape")


def _check_encoding(entry: TensorEntry, carried: Carried) -> Encoding:
    try:
        encoding = Encoding.parse(entry.encoding)
    except InvalidInputError as error:
        raise MalformedMessageError(f"tensor {entry.name!r}: {error}") from error
    if encoding.values != "raw" and entry.dtype not in LOSSY_DTYPES:
        raise MalformedMessageError(f"tensor {entry.name!r} writes {entry.dtype} as {encoding}")
    if encoding.fraction is not None:
        if entry.kind != "delta" or carried != "changes":
            raise MalformedMessageError(f"tensor {entry.name!r} writes a value as {encoding}")
        if entry.num_values > MAX_INDEXED_VALUES:
            raise MalformedMessageError(f"tensor {entry.name!r} is too large for {encoding}")
    return encoding
