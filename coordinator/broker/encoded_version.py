"""The message that carries the current version, encoded once and sent as often as needed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor

from fanfold.coordinator.aggregation.masked_round import MaskedRound
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.rounds.federation_state import FederationState
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.schemas.border import IN_CLEAR, CoordinatorsBorder
from fanfold.schemas.chunking import Chunk, check_cut
from fanfold.schemas.encodings import whole_encoding
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import FinalModel, GlobalParameters
from fanfold.schemas.tensor_codec import encode_tensors, encoded_tensors_bytes


class EncodedVersion:
    """One version as chunks. It views the tensors: they must not change while it is sent."""

    def __init__(
        self,
        encoded: Encoded,
        *,
        epoch: int,
        chunk_bytes: int,
        border: CoordinatorsBorder = IN_CLEAR,
    ) -> None:
        """Cut a message."""
        self._encoded = encoded
        self.difference: EncodedVersion | None = None
        """The same version for who holds the one before."""
        self._border, self._epoch, self._chunk_bytes = border, epoch, chunk_bytes
        self._revision = border.revision
        self._chunks = self._sealed()
        self.version = self._chunks[0].header.labels.version or 0
        self.digest = self._chunks[0].header.content

    @property
    def chunks(self) -> Sequence[Chunk]:
        """What is sent; sealed again where others are to read it by now."""
        if self._border.revision != self._revision:
            self._revision, self._chunks = self._border.revision, self._sealed()
        return self._chunks

    @property
    def num_bytes(self) -> int:
        """Bytes on the wire, but for headers."""
        return self._chunks[0].header.whole.num_bytes

    def _sealed(self) -> Sequence[Chunk]:
        return self._border.seal(self._encoded, chunk_bytes=self._chunk_bytes, epoch=self._epoch)


Announcement = Callable[[RunState, CoordinatorSettings], GlobalParameters]
"""What the current version of a run says beside its tensors."""


def encode_version(
    message: GlobalParameters,
    state: FederationState,
    settings: CoordinatorSettings,
    *,
    epoch: int,
    border: CoordinatorsBorder,
) -> EncodedVersion:
    """Return the current version of a run as it is published in an epoch.

    Args:
        message: what it says beside its tensors.
        state: of the run; where versions travel as differences, what participants hold goes on to
            this version.
        settings: say how it is encoded.
        epoch: the coordinator's.
        border: what it crosses.
    """
    run, published = state.run, state.published
    cut = partial(EncodedVersion, epoch=epoch, chunk_bytes=settings.chunk_bytes, border=border)
    if published is None:
        return cut(_encoded(message, run.tensors, run, settings))
    published.publish(message, run.tensors)
    version = cut(_encoded(message, published.tensors, run, settings))
    changed = published.named(version.digest)
    version.difference = None if changed is None else cut(changed)
    return version


def encode_final(
    run: RunState, settings: CoordinatorSettings, *, epoch: int, border: CoordinatorsBorder
) -> EncodedVersion:
    """Return the last version of a run as participants are to keep it."""
    message = FinalModel(run=run.run_id, version=run.version)
    encoded = _encoded(message, run.tensors, run, settings)
    return EncodedVersion(encoded, epoch=epoch, chunk_bytes=settings.chunk_bytes, border=border)


class VersionBytes:
    """The length of a run's version as it is published; found anew where it can have changed."""

    def __init__(
        self,
        run: RunState,
        settings: CoordinatorSettings,
        border: CoordinatorsBorder,
        announced: Announcement,
    ) -> None:
        self._run = run
        self._settings = settings
        self._border = border
        self._announced = announced
        self._known: tuple[tuple[str, int, int], int] | None = None
        """Of which run, version and roster, and the length."""

    def __call__(self) -> int:
        """Return the length, in bytes.

        Raises:
            InvalidInputError: if it has too many chunks, or a later one could: by 64 bytes at most.
        """
        now = (self._run.run_id, self._run.version, self._border.revision)
        if self._known is None or self._known[0] != now:
            self._known = (now, self._found())
        return self._known[1]

    def _found(self) -> int:
        run, settings = self._run, self._settings
        num_bytes = encoded_tensors_bytes(
            self._announced(run, settings),
            run.tensors,
            kinds=run.kinds,
            encoding=whole_encoding(settings.encoding_down),
        )
        sealed_bytes = self._border.sealed_bytes(num_bytes)
        check_cut(sealed_bytes + 64, settings.chunk_bytes)
        return sealed_bytes


def _encoded(
    message: GlobalParameters | FinalModel,
    tensors: Mapping[str, Tensor],
    run: RunState,
    settings: CoordinatorSettings,
) -> Encoded:
    """Encode a version, and say how updates are to carry its tensors."""
    encoding = whole_encoding(settings.encoding_down)
    return encode_tensors(message, tensors, kinds=run.kinds, encoding=encoding)


def announcement(run: RunState, settings: CoordinatorSettings) -> GlobalParameters:
    """Say how participants train on the current version, as the settings decide it."""
    return settings.announcement(
        run.run_id,
        run.version,
        frozen=run.origin.frozen,
        privacy=run.privacy.plan() if run.privacy else None,
        masks=run.aggregation.masks if isinstance(run.aggregation, MaskedRound) else None,
    )
