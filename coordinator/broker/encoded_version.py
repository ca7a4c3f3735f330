"""The message that carries the current version, encoded once and sent as often as needed."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from fanfold.coordinator.aggregation.fixed_settings import wire_encoding
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.chunking import Chunk, check_cut, cut
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.tensor_codec import encode_tensors, encoded_tensors_bytes
from fanfold.schemas.tensor_table import Kind


class EncodedVersion:
    """One version as chunks. It views the tensors: they must not change while it is sent."""

    def __init__(
        self,
        message: GlobalParameters,
        tensors: Mapping[str, Tensor],
        *,
        kinds: Mapping[str, Kind],
        epoch: int,
        encoding: str,
        chunk_bytes: int,
    ) -> None:
        """Encode `tensors`, and say with `kinds` how updates are to carry them."""
        encoded = encode_tensors(message, tensors, kinds=kinds, encoding=encoding)
        self.version = message.version
        self.num_bytes = encoded.num_bytes
        self.chunks: Sequence[Chunk] = cut(encoded, chunk_bytes=chunk_bytes, epoch=epoch)
        self.digest = self.chunks[0].header.whole.digest


def encode_version(run: RunState, settings: CoordinatorSettings, *, epoch: int) -> EncodedVersion:
    """Return the current version of a run as it is published in an epoch."""
    return EncodedVersion(
        _message(run, settings),
        run.tensors,
        kinds=run.kinds,
        epoch=epoch,
        encoding=settings.encoding_down,
        chunk_bytes=settings.chunk_bytes,
    )


def version_bytes_of(run: RunState, settings: CoordinatorSettings) -> int:
    """Return the length of a version as it is published.

    Raises:
        InvalidInputError: if it has too many chunks, or a later one could: by 64 bytes at most.
    """
    num_bytes = encoded_tensors_bytes(
        _message(run, settings), run.tensors, kinds=run.kinds, encoding=settings.encoding_down
    )
    check_cut(num_bytes + 64, settings.chunk_bytes)
    return num_bytes


def _message(run: RunState, settings: CoordinatorSettings) -> GlobalParameters:
    return GlobalParameters(
        run=run.run_id,
        version=run.version,
        rounds=settings.rounds,
        plan=settings.plan(run.version, settings.rounds),
        encoding=wire_encoding(settings.encoding),
        privacy=run.privacy.plan() if run.privacy else None,
        frozen=run.origin.frozen,
        fixed=settings.fixed,
    )
