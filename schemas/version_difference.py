"""The arithmetic of versions that travel as differences.

P_v is the version that participants train on, W_v the coordinator's own model. With P_0 = W_0,

    P_v = P_{v-1} + decode(encode(W_v - P_{v-1}))

so what an encoding leaves out of one difference is in the next one, and no error accumulates
(Gruntkowska, Tyurin and Richtárik 2023, EF21-P and Friends). Both ends compute the sum from the
same bytes with one addition for each value, and so agree to the last bit; a hash says so.

Shapes and dtypes: every tensor is on the CPU, and has those of the model's tensor of its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.encodings import RAW, Encoding, difference_encoding
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import Decoded, Encoded, TensorBytes, encode
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.quantization import unpack
from fanfold.schemas.tensor_codec import (
    decode_tensors,
    parameters_sha256,
    tensor_bytes,
)
from fanfold.schemas.tensor_table import Kind


@dataclass(frozen=True, slots=True)
class Difference:
    """What leads from one version to the next, before both have the names they travel under."""

    sums: dict[str, Tensor]
    """P_v by name, in new memory."""
    _message: GlobalDifference
    _rows: Sequence[TensorBytes]

    def named(self, *, base: str, digest: str) -> Encoded:
        """Return the difference as it travels.

        Args:
            base: the digest of the whole version that holds P_{v-1}.
            digest: of the whole version that holds P_v.
        """
        proofs = {"base": base, "digest": digest, "sha256": parameters_sha256(self.sums)}
        return encode(self._message.model_copy(update=proofs), self._rows)


def make_difference(
    becomes: GlobalParameters,
    tensors: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    *,
    kinds: Mapping[str, Kind],
    encoding: str,
) -> Difference:
    """Return the difference that makes a version of the one before.

    A tensor of kind `value` travels raw, as it is, and so does one whose difference the encoding
    would not make smaller, or could not say in finite numbers.

    Args:
        becomes: the fields of the whole version.
        tensors: W_v by name, on the CPU.
        base: P_{v-1}: the same names, dtypes and shapes.
        kinds: delta or value for each name.
        encoding: as in `--encoding-down`, `difference:int8` for instance.

    Raises:
        InvalidInputError: if the encoding is none of differences.
    """
    wanted = difference_encoding(encoding)
    if wanted is None:
        raise InvalidInputError(f"{encoding} is no encoding of differences; choose difference:int8")
    message = GlobalDifference(
        run=becomes.run,
        version=becomes.version,
        base="0" * 64,
        digest="0" * 64,
        sha256="0" * 64,
        becomes=becomes,
    )
    rows: list[TensorBytes] = []
    sums: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kind = kinds.get(name, "value")
        found = _added(message, name, tensor, base[name], wanted) if kind == "delta" else None
        if found is None:
            sums[name] = tensor.clone()
            row = tensor_bytes(message, {name: sums[name]}, kinds={name: kind})[0]
        else:
            row, sums[name] = found
        rows.append(row)
    return Difference(sums, message, rows)


def apply_difference(difference: Decoded, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return P_v = P_{v-1} + difference by name, in the message's order; `base` is not changed.

    Sums are taken in the dtype of the tensor, each rounded to nearest.

    Raises:
        MalformedMessageError: if it is not a difference to tensors like those of `base`.
    """
    tensors = decode_tensors(difference)
    if tensors.keys() != base.keys():
        raise MalformedMessageError("a difference names other tensors than its base")
    for entry in difference.entries:
        sent, held = tensors[entry.name], base[entry.name]
        if (sent.dtype, sent.shape) != (held.dtype, held.shape):
            raise MalformedMessageError(
                f"tensor {entry.name!r} of a difference has another dtype or shape than its base"
            )
        if entry.encoding != str(RAW):
            tensors[entry.name] = held + sent
    return tensors


def read_difference(
    difference: Decoded, base: Mapping[str, Tensor]
) -> tuple[GlobalParameters, dict[str, Tensor]]:
    """Return the version that a difference makes of its base, checked against their hash.

    Args:
        difference: a GlobalDifference.
        base: the tensors of the version whose digest it names.

    Raises:
        MalformedMessageError: if it does not become what it says.
    """
    message = difference.message
    assert isinstance(message, GlobalDifference)  # the caller looked
    becomes = message.becomes
    if (becomes.run, becomes.version) != (message.run, message.version):
        raise MalformedMessageError("a difference becomes a version that its headers do not name")
    tensors = apply_difference(difference, base)
    if parameters_sha256(tensors) != message.sha256:
        raise MalformedMessageError("a difference does not become what its hash says")
    return becomes, tensors


def _added(
    message: GlobalDifference, name: str, tensor: Tensor, base: Tensor, encoding: Encoding
) -> tuple[TensorBytes, Tensor] | None:
    """Return a tensor's difference as it travels, and the sum that its reader will have.

    Returns:
        None where the value itself is to travel.
    """
    if not tensor.is_floating_point():
        return None
    wide = torch.promote_types(tensor.dtype, torch.float32)
    difference = (tensor.to(wide) - base.to(wide)).to(tensor.dtype)
    if not bool(difference.isfinite().all()):
        return None
    kinds: dict[str, Kind] = {name: "delta"}
    try:
        [row] = tensor_bytes(message, {name: difference}, kinds=kinds, encoding=str(encoding))
    except InvalidInputError:  # beyond the range of 16 bits
        return None
    if row.encoding == str(RAW):
        return None
    data = torch.frombuffer(row.data, dtype=torch.uint8)
    sent = unpack(data, encoding, tensor.dtype, tensor.numel()).reshape(tensor.shape)
    total = base + sent
    return (row, total) if bool(total.isfinite().all()) else None
