"""From deliveries to updates: small ones in memory, large ones through the spool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fanfold.coordinator.persistence.run_store import RunStore
from fanfold.coordinator.persistence.spool import DamagedUpload, SpoolFile
from fanfold.schemas.border import IN_CLEAR, Border
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.messages import Update
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.tensor_codec import DTYPES, decode_tensors
from fanfold.schemas.tensor_table import Kind
from fanfold.transport import Delivery


class UselessUpdateError(MalformedMessageError):
    """Raised when an update came whole and is none: sending the same bytes again is no use."""


@dataclass(frozen=True, slots=True)
class RawUpdate:
    """A whole update, decoded but not judged. Its tensors lie in the buffer it was received in."""

    update: Update
    tensors: Mapping[str, Tensor]
    kinds: Mapping[str, Kind]
    dtypes: Mapping[str, torch.dtype]
    """Of the sender's tensors, which may lie here in the 16 bits that they travelled in."""
    digest: str
    num_bytes: int
    file: SpoolFile | None


class Assembler:
    """Puts updates together from their chunks."""

    def __init__(
        self,
        store: RunStore,
        limits: ReaderLimits,
        *,
        damaged: Callable[[DamagedUpload], None],
        border: Border = IN_CLEAR,
        widens: bool = True,
    ) -> None:
        """Put together what arrives.

        Args:
            store: keeps what is not whole.
            limits: nothing larger is taken.
            damaged: is told what has to be sent again.
            border: what updates come across.
            widens: as for `decode_tensors`.
        """
        self._store = store
        self._damaged = damaged
        self._inside = limits
        self._border = border
        self._widens = widens
        self.limits = border.limits(limits)
        """On what arrives."""

    def add(self, header: ChunkHeader, delivery: Delivery, now: float) -> RawUpdate | None:
        """Store a chunk; return its update if that is whole now.

        Raises:
            MalformedMessageError: if the chunk is damaged.
            UselessUpdateError: if the update is whole, and none.
            OSError: if the disk is full.
        """
        if header.whole.count == 1:
            assembly = Assembly(header, self._inside)
            assembly.add(header, delivery.body)
            return self._decode(header, assembly, None)
        sender = f"{delivery.user_id or ''}/{header.labels.participant or ''}"
        file = self._store.spool.add(sender, header, delivery.body, now)
        for upload in self._store.spool.take_damaged():
            self._damaged(upload)
        if file is None:
            return None
        try:
            return self._decode(header, file.assembly, file)
        except MalformedMessageError:
            self._store.spool.remove(file)
            raise

    def folded(self, update: RawUpdate) -> None:
        """Let the file of an update go once the sum it went into is committed."""
        if update.file is not None:
            self._store.folded(update.file)

    def discard(self, update: RawUpdate) -> None:
        """Let the file of an update go that does not count."""
        if update.file is not None:
            self._store.spool.remove(update.file)

    def _decode(self, header: ChunkHeader, assembly: Assembly, file: SpoolFile | None) -> RawUpdate:
        try:
            assembly.unseal(self._border.opener(header))
            decoded = assembly.decode()
            tensors = decode_tensors(decoded, widens=self._widens)
        except MalformedMessageError as error:
            raise UselessUpdateError(str(error)) from error
        assert isinstance(decoded.message, Update)  # place() let nothing else in
        return RawUpdate(
            update=decoded.message,
            tensors=tensors,
            kinds={entry.name: entry.kind for entry in decoded.entries},
            dtypes={entry.name: DTYPES[entry.dtype] for entry in decoded.entries},
            digest=assembly.identity.digest,
            num_bytes=assembly.identity.num_bytes,
            file=file,
        )
