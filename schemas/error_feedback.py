"""Error feedback: what a lossy encoding leaves out of one update is added to the next."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fanfold.schemas.encodings import Encoding
from fanfold.schemas.message_codec import Encoded, TensorBytes, decode, encode
from fanfold.schemas.messages import Update
from fanfold.schemas.quantization import unpack
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import DTYPES, decode_tensors, encode_tensors, tensor_bytes
from fanfold.schemas.tensor_table import Kind

_OURS = ReaderLimits(max_bytes=2**62)
"""The limits for an update that this process has encoded itself, which needs none."""


def encode_update(
    message: Update,
    tensors: Mapping[str, Tensor],
    owed: Mapping[str, Tensor],
    *,
    kinds: Mapping[str, Kind],
    encoding: str,
) -> tuple[Encoded, dict[str, Tensor]]:
    """Return the update in the encoding that the coordinator chose, and its residual.

    Only top-k leaves a residual: what the other encodings round away is too little. A residual from
    before is added whatever the encoding. Arguments and errors as in `encode_with_feedback`.
    """
    if not owed and Encoding.from_setting(encoding).fraction is None:
        return encode_tensors(message, tensors, kinds=kinds, encoding=encoding), {}
    return encode_with_feedback(message, tensors, owed, kinds=kinds, encoding=encoding)


def encode_with_feedback(
    message: Update,
    tensors: Mapping[str, Tensor],
    residual: Mapping[str, Tensor],
    *,
    kinds: Mapping[str, Kind],
    encoding: str,
) -> tuple[Encoded, dict[str, Tensor]]:
    """Return the update with the last one's residual added, and the new residual.

    For every delta, in its own dtype: sent + new residual = delta + old residual. With float32 and
    float64 this holds to the last bit, because the difference of a value and its rounding is exact.
    (Seide et al. 2014, 1-bit SGD; Karimireddy et al. 2019, Error Feedback Fixes SignSGD.)

    Args:
        message: the update.
        tensors: deltas and values by name.
        residual: what the previous call returned; empty at first.
        kinds: delta or value for each name.
        encoding: as in `encodings`.

    Raises:
        UnsupportedDtypeError: if the protocol cannot represent a tensor.
        InvalidInputError: if there is no such encoding, or a value is beyond its range.
    """
    owed = {name: tensor.detach() for name, tensor in tensors.items()}
    for name in owed.keys() & residual.keys():
        owed[name] = owed[name].cpu() + residual[name]
    rows = tensor_bytes(message, owed, kinds=kinds, encoding=encoding)
    left = {row.name: owed[row.name].cpu() - _sent(row) for row in rows if row.encoding != "raw"}
    # A value that is not finite would make every later update not finite: it leaves no residual.
    return encode(message, rows), {
        name: tensor.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for name, tensor in left.items()
    }


def owed_again(residual: Mapping[str, Tensor], refused: Encoded) -> dict[str, Tensor]:
    """Return the residual after an update was not counted: its deltas are added to it.

    The sum of what was sent and the residual stays what was trained. Values that are not finite are
    left out.
    """
    whole = memoryview(bytearray().join(refused.buffers))
    decoded = decode(whole, kind=refused.message.KIND, limits=_OURS)
    owed = dict(residual)
    for entry, tensor in zip(decoded.entries, decode_tensors(decoded).values(), strict=True):
        if entry.kind == "delta":
            sent = tensor.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            owed[entry.name] = owed[entry.name] + sent if entry.name in owed else sent
    return owed


def _sent(row: TensorBytes) -> Tensor:
    """Return the values as the coordinator will decode them."""
    data = torch.frombuffer(row.data, dtype=torch.uint8)
    values = unpack(data, Encoding.parse(row.encoding), DTYPES[row.dtype], math.prod(row.shape))
    return values.reshape(row.shape)
