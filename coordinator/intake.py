"""From deliveries to updates: small ones in memory, large ones through the spool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from coordinator.spool import DamagedUpload, Spool, SpoolFile
from schemas.chunks import Assembly, ChunkPlace
from schemas.errors import MalformedMessageError
from schemas.limits import Limits
from schemas.messages import Update
from schemas.table import Kind
from schemas.tensors import decode_tensors
from transport import Delivery


class UselessUpdateError(MalformedMessageError):
    """Raised when an update came whole and is none: sending the same bytes again is no use."""


@dataclass(frozen=True, slots=True)
class ReceivedUpdate:
    """A whole update, decoded but not judged. Its tensors lie in the buffer it was received in."""

    update: Update
    tensors: Mapping[str, Tensor]
    kinds: Mapping[str, Kind]
    digest: str
    num_bytes: int
    file: SpoolFile | None


class Intake:
    """Puts updates together from their chunks."""

    def __init__(
        self, spool: Spool, limits: Limits, *, damaged: Callable[[DamagedUpload], None]
    ) -> None:
        """Take nothing larger than `limits` say; `damaged` is told what has to be sent again."""
        self._spool = spool
        self._limits = limits
        self._damaged = damaged

    def place(self, delivery: Delivery) -> ChunkPlace:
        """Read where a chunk belongs.

        Raises:
            MalformedMessageError: if it is no chunk of an update, or of one that is too large.
        """
        if delivery.kind != Update.KIND:
            raise MalformedMessageError(
                f"{str(delivery.kind)[:64]!r} is no message for the results queue"
            )
        return ChunkPlace.parse(
            kind=delivery.kind,
            headers=delivery.headers,
            body_length=len(delivery.body),
            limits=self._limits,
        )

    def add(self, place: ChunkPlace, delivery: Delivery, now: float) -> ReceivedUpdate | None:
        """Store a chunk; return its update if that is whole now.

        Raises:
            MalformedMessageError: if the chunk is damaged.
            UselessUpdateError: if the update is whole, and none.
            OSError: if the disk is full.
        """
        if place.whole.count == 1:
            assembly = Assembly(place, self._limits)
            assembly.add(place, delivery.body)
            return self._decode(assembly, None)
        sender = f"{delivery.user_id or ''}/{place.labels.participant or ''}"
        file = self._spool.add(sender, place, delivery.body, now)
        for upload in self._spool.take_damaged():
            self._damaged(upload)
        if file is None:
            return None
        try:
            return self._decode(file.assembly, file)
        except MalformedMessageError:
            self._spool.remove(file)
            raise

    @staticmethod
    def _decode(assembly: Assembly, file: SpoolFile | None) -> ReceivedUpdate:
        try:
            decoded = assembly.decode()
            tensors = decode_tensors(decoded)
        except MalformedMessageError as error:
            raise UselessUpdateError(str(error)) from error
        assert isinstance(decoded.message, Update)  # noqa: S101 - place() let nothing else in
        return ReceivedUpdate(
            update=decoded.message,
            tensors=tensors,
            kinds={entry.name: entry.kind for entry in decoded.entries},
            digest=assembly.identity.digest,
            num_bytes=assembly.identity.num_bytes,
            file=file,
        )
