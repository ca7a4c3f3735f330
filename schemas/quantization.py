"""The arithmetic of the lossy encodings. `encodings` names them and says what they cost.

Shapes: n values of a tensor, flattened in C order; k of them kept; b blocks of 256 for int8.
Nothing here hides a value that is not finite: 16-bit floats keep it, top-k takes it for the
largest, int8 marks its whole block as NaN.
"""

import torch
from torch import Tensor
from torch.nn import functional

from fanfold.schemas.encodings import BLOCK_VALUES, INDEX_BYTES, Encoding, num_blocks
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError

_MAX_CODE = 127
_FLOATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def pack(values: Tensor, encoding: Encoding) -> Tensor:
    """Return the bytes of `values` under a lossy encoding.

    Args:
        values: (n,) of a floating dtype, on any device.
        encoding: any but raw.

    Returns:
        uint8 of shape (encoding.num_bytes(n, ...),), on the same device.

    Raises:
        InvalidInputError: if a finite value is beyond the encoding's range.
    """
    if encoding.fraction is None:
        return _pack_dense(values, encoding)
    # NaN counts as the largest to topk. In order of indices, so that a reader sees duplicates.
    largest = values.float().abs().topk(encoding.num_kept(len(values)), sorted=False).indices
    indices = largest.sort().values
    kept = _pack_dense(values[indices], encoding)
    return torch.cat([indices.to(torch.int32).view(torch.uint8), kept])


def unpack(data: Tensor, encoding: Encoding, dtype: torch.dtype, num_values: int) -> Tensor:
    """Return the values that `pack` wrote, zero where top-k left them out.

    Args:
        data: uint8 of exactly the encoding's length for `num_values`, on the CPU, aligned to 4.
        encoding: any but raw.
        dtype: of the result.
        num_values: n.

    Returns:
        (n,) of `dtype`; a view of `data` where that is possible.

    Raises:
        MalformedMessageError: if the bytes are not what `pack` would write.
    """
    if encoding.fraction is None:
        return _unpack_dense(data, encoding, num_values).to(dtype)
    num_kept = encoding.num_kept(num_values)
    indices = data[: INDEX_BYTES * num_kept].view(torch.int32)
    if num_kept and not (
        indices[0] >= 0
        and indices[-1] < num_values
        and bool((indices[1:] > indices[:-1]).all())  # diff() would wrap around in int32
    ):
        raise MalformedMessageError("top-k indices are not increasing and within the tensor")
    kept = _unpack_dense(data[INDEX_BYTES * num_kept :], encoding, num_kept)
    values = torch.zeros(num_values, dtype=dtype)
    values[indices.long()] = kept.to(dtype)
    return values


def _pack_dense(values: Tensor, encoding: Encoding) -> Tensor:
    narrow = values.to(_FLOATS.get(encoding.values, torch.float32))
    if not _is_finite(narrow) and bool((narrow.isinf() & values.isfinite()).any()):
        raise InvalidInputError(
            f"a value is beyond the range of encoding {encoding}; choose bfloat16 or float32"
        )
    if encoding.values == "int8":
        return _pack_int8(narrow)
    return narrow.contiguous().view(torch.uint8)


def _is_finite(narrow: Tensor) -> bool:
    """Whether no value is infinite or NaN; one pass over what is narrow by now, instead of five."""
    if not narrow.numel():
        return True
    least, largest = narrow.aminmax()
    return bool(max(-least, largest) <= torch.finfo(narrow.dtype).max)  # False where one is NaN


def _unpack_dense(data: Tensor, encoding: Encoding, num_values: int) -> Tensor:
    if encoding.values == "int8":
        return _unpack_int8(data, num_values)
    return data.view(_FLOATS[encoding.values])


def _pack_int8(values: Tensor) -> Tensor:
    """Return scales (b,) float32, then codes (n,) int8, as bytes: value = code * scale.

    A scale is the block's largest magnitude over 127, or NaN where the block is not all finite.
    """
    num_values = len(values)
    blocks = functional.pad(values, (0, -num_values % BLOCK_VALUES)).view(-1, BLOCK_VALUES)
    scales = blocks.abs().amax(1) / _MAX_CODE
    # At the end of float32's range, round down, so that 127 * scale stays finite.
    down = scales.nextafter(torch.zeros_like(scales))
    scales = torch.where((scales * _MAX_CODE).isinf(), down, scales)
    scales = torch.where(blocks.isfinite().all(1), scales, torch.nan)
    codes = (blocks / scales[:, None]).nan_to_num(0.0).round().clamp(-_MAX_CODE, _MAX_CODE)
    codes = codes.flatten()[:num_values].to(torch.int8)
    return torch.cat([scales.view(torch.uint8), codes.view(torch.uint8)])


def _unpack_int8(data: Tensor, num_values: int) -> Tensor:
    scales_end = 4 * num_blocks(num_values)
    scales = data[:scales_end].view(torch.float32)
    codes = data[scales_end:].view(torch.int8)
    if bool((scales.isinf() | (scales < 0)).any()):
        raise MalformedMessageError("an int8 scale is infinite or negative")
    if bool((codes == -_MAX_CODE - 1).any()):
        raise MalformedMessageError("an int8 code is -128")
    return codes * scales.repeat_interleave(BLOCK_VALUES)[:num_values]
