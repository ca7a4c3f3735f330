"""Torch tensors to the rows and bytes of a message, and back.

Every dense tensor is welcome: scalar, empty, not contiguous, on an accelerator (it is brought to
the CPU), requiring gradients (they stay behind).
"""

import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256

import torch
from torch import Tensor

from fanfold.schemas.encodings import LOSSY_DTYPES, NARROW, NARROW_BYTES, RAW, Encoding
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError, UnsupportedDtypeError
from fanfold.schemas.message_codec import (
    Decoded,
    Encoded,
    TensorBytes,
    TensorEntry,
    encode,
    encoded_bytes,
)
from fanfold.schemas.messages import Message
from fanfold.schemas.quantization import pack, unpack
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_table import DTYPE_BYTES, Kind, aligned

if sys.byteorder != "little":
    raise ImportError("tensors travel little endian, and this machine is big endian")

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_BYTES}
_ROW_BYTES = 384
"""A row of the tensor table without its name, and the zeros before the tensor."""
_DOCUMENT_BYTES = 32 << 10
"""The header without its tensor table; 64 metrics with long names are the largest part."""
_SPARE_ROWS = 64
"""Another network's tensors should be refused by name, and not for their number."""
_INTEGER_BYTES = 4
"""Of a value in fixed point."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def encode_tensors(
    message: Message,
    tensors: Mapping[str, Tensor],
    *,
    kinds: Mapping[str, Kind] | None = None,
    encoding: str = "float32",
) -> Encoded:
    """Return `message` with `tensors`, in the mapping's order, ready to be cut.

    A tensor that is contiguous, on the CPU and travels as it is, is not copied: it must not change
    until the message is sent.

    Args:
        message: a kind of message that carries tensors.
        tensors: by name.
        kinds: delta or value for each name; a name left out is a value. The tensors of an update
            are what these say, those of global parameters are all values.
        encoding: as in `encodings`. It is applied to an update's deltas, and to every floating
            tensor of global parameters, where that makes them smaller; `float32` leaves everything
            as it is.

    Raises:
        UnsupportedDtypeError: if a tensor has no bytes in this protocol.
        InvalidInputError: if there is no such encoding, or it does not fit the message or a value.
        MalformedMessageError: if a name cannot travel.
    """
    return encode(message, tensor_bytes(message, tensors, kinds=kinds, encoding=encoding))


def tensor_bytes(
    message: Message,
    tensors: Mapping[str, Tensor],
    *,
    kinds: Mapping[str, Kind] | None = None,
    encoding: str = "float32",
) -> list[TensorBytes]:
    """Return what `encode_tensors` would send of each tensor."""
    return [
        _row(name, tensor, kind, wanted)
        for name, tensor, kind, wanted in _wanted(message, tensors, kinds, encoding)
    ]


def encoded_tensors_bytes(
    message: Message,
    tensors: Mapping[str, Tensor],
    *,
    kinds: Mapping[str, Kind] | None = None,
    encoding: str = "float32",
) -> int:
    """Return how many bytes `encode_tensors` would make of this; no value is read.

    Args:
        message: as for `encode_tensors`, likewise the rest.
        tensors: by name.
        kinds: delta or value for each name.
        encoding: as in `encodings`.

    Raises:
        UnsupportedDtypeError: if a tensor has no bytes in this protocol.
        InvalidInputError: if there is no such encoding, or it does not fit the message.
        MalformedMessageError: if a name cannot travel.
    """
    entries: list[TensorEntry] = []
    end = 0
    for name, tensor, kind, wanted in _wanted(message, tensors, kinds, encoding):
        dtype, count = dtype_name(name, tensor), tensor.numel()
        chosen = _chosen(dtype, count, wanted)
        begin = aligned(end)
        end = begin + chosen.num_bytes(count, DTYPE_BYTES[dtype])
        shape = tuple(tensor.shape)
        entries.append(TensorEntry(name, dtype, shape, kind, str(chosen), begin, end))
    return encoded_bytes(message, entries)


def _wanted(
    message: Message,
    tensors: Mapping[str, Tensor],
    kinds: Mapping[str, Kind] | None,
    encoding: str,
) -> Iterator[tuple[str, Tensor, Kind, Encoding]]:
    """Yield name, tensor, kind, and the encoding it is to have where that makes it smaller."""
    wanted = Encoding.from_setting(encoding)
    kinds = kinds or {}
    are_changes = message.TENSORS == "changes"
    if not are_changes and wanted.fraction is not None:
        raise InvalidInputError(
            f"{message.KIND} cannot travel as {encoding}, which leaves values out; choose float32, "
            "float16, bfloat16 or int8"
        )
    for name, tensor in tensors.items():
        kind = kinds.get(name, "value")
        is_exact = are_changes and kind == "value"
        yield name, tensor, kind, RAW if is_exact else wanted


def decode_tensors(
    decoded: Decoded, *, widens: bool = True, room: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the tensors of a message by name, in the message's order.

    Those that travelled as they are lie in the buffer that the message was received in. Whoever
    received it may write to them, if nobody else reads that buffer. A read-only one is copied.

    Args:
        decoded: the message.
        widens: whether values that travelled as 16-bit floats become the dtype of their tensor. If
            not, they too stay in the buffer: for a reader who only takes sums of them.
        room: tensors by name whose memory those that are widened take, where they fit: memory that
            was used before costs less.

    Raises:
        MalformedMessageError: if a tensor's bytes mean nothing.
    """
    data = decoded.data
    if data.readonly:
        data = memoryview(bytearray(data))
    tensors = {}
    for entry in decoded.entries:
        place = (room or {}).get(entry.name)
        if place is not None and entry.encoding in NARROW and _fits(place, entry):
            tensors[entry.name] = place.copy_(_tensor(entry, data, widens=False))
        else:
            tensors[entry.name] = _tensor(entry, data, widens=widens)
    return tensors


def parameters_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return one digest for named tensors: equal for the same names, dtypes, shapes and bytes.

    sha256 over, for each name in order of its UTF-8 bytes: name, NUL, dtype such as `float32`, NUL,
    shape such as `3,4`, NUL, raw little-endian bytes in C order.
    """
    digest = sha256()
    for name in sorted(tensors, key=str.encode):
        tensor = tensors[name]
        shape = ",".join(str(size) for size in tensor.shape)
        digest.update(f"{name}\0{dtype_name(name, tensor)}\0{shape}\0".encode())
        digest.update(_memory(_bytes(tensor.detach())))
    return digest.hexdigest()


def num_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return how many bytes the values of `tensors` take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _num_narrow(tensors: Mapping[str, Tensor]) -> int:
    return sum(each.numel() for each in tensors.values() if each.element_size() < _INTEGER_BYTES)


def limits_for(
    tensors: Mapping[str, Tensor], *, least_chunk_bytes: int = 0, fixed: bool = False
) -> ReaderLimits:
    """Return the bounds that any message which carries these tensors keeps, however encoded.

    With `fixed` each value may take the 4 bytes of an integer.
    """
    header = sum(len(name.encode()) + _ROW_BYTES for name in tensors) + _DOCUMENT_BYTES
    return ReaderLimits(
        max_bytes=num_bytes(tensors)
        + header
        + (_INTEGER_BYTES * _num_narrow(tensors) if fixed else 0),
        max_header_bytes=header,
        max_tensors=len(tensors) + _SPARE_ROWS,
        least_chunk_bytes=least_chunk_bytes,
    )


def dtype_name(name: str, tensor: Tensor) -> str:
    """Return the dtype of the tensor called `name` as the protocol writes it.

    Raises:
        UnsupportedDtypeError: if the protocol has no such tensors.
    """
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta:
        form = "nested" if tensor.is_nested else "meta" if tensor.is_meta else tensor.layout
        raise UnsupportedDtypeError(f"tensor {name!r} is {form}, which cannot travel")
    if tensor.dtype not in _NAMES:
        raise UnsupportedDtypeError(f"tensor {name!r} is {tensor.dtype}, which cannot travel")
    return _NAMES[tensor.dtype]


def _row(name: str, tensor: Tensor, kind: Kind, wanted: Encoding) -> TensorBytes:
    dtype = dtype_name(name, tensor)
    tensor = tensor.detach()
    encoding = _chosen(dtype, tensor.numel(), wanted)
    if encoding.values == "raw":
        data = _bytes(tensor)
    else:
        try:
            data = pack(tensor.reshape(-1), encoding)
        except InvalidInputError as error:
            raise InvalidInputError(f"tensor {name!r}: {error}") from error
    return TensorBytes(name, dtype, tuple(tensor.shape), kind, str(encoding), _memory(data))


def _chosen(dtype: str, num_values: int, wanted: Encoding) -> Encoding:
    """Return the encoding for one tensor: the wanted one where it saves anything."""
    if wanted is RAW:
        return RAW
    raw_bytes = RAW.num_bytes(num_values, DTYPE_BYTES[dtype])
    if dtype in LOSSY_DTYPES and wanted.num_bytes(num_values, DTYPE_BYTES[dtype]) < raw_bytes:
        return wanted
    return RAW


def _bytes(tensor: Tensor) -> Tensor:
    """Return the values' bytes, uint8 of shape (bytes,): the same memory where that is possible."""
    return tensor.resolve_neg().contiguous().view(-1).view(torch.uint8)


def _memory(data: Tensor) -> memoryview:
    return data.cpu().numpy().data


def _fits(place: Tensor, entry: TensorEntry) -> bool:
    return (place.dtype, tuple(place.shape)) == (DTYPES[entry.dtype], entry.shape)


def _tensor(entry: TensorEntry, data: memoryview, *, widens: bool) -> Tensor:
    dtype = DTYPES[entry.dtype]
    if not entry.num_values:
        return torch.empty(entry.shape, dtype=dtype)  # frombuffer refuses to make it
    encoding = Encoding.parse(entry.encoding)
    if not widens and entry.encoding in NARROW and DTYPE_BYTES[entry.dtype] > NARROW_BYTES:
        dtype, encoding = DTYPES[entry.encoding], RAW
    if encoding.values == "raw" and dtype != torch.bool:
        flat = torch.frombuffer(data, dtype=dtype, count=entry.num_values, offset=entry.begin)
        return flat.view(entry.shape)
    raw = torch.frombuffer(data[entry.begin : entry.end], dtype=torch.uint8)
    if encoding.values != "raw":
        try:
            return unpack(raw, encoding, dtype, entry.num_values).reshape(entry.shape)
        except MalformedMessageError as error:
            raise MalformedMessageError(f"tensor {entry.name!r}: {error}") from error
    if bool((raw > 1).any()):
        raise MalformedMessageError(f"tensor {entry.name!r} has booleans that are not 0 or 1")
    return raw.view(dtype).reshape(entry.shape)
