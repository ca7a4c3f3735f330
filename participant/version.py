"""A version on its way through a participant: received, trained on, answered."""

from dataclasses import dataclass, field
from typing import Self

from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.events.participant import VersionReceived
from fanfold.schemas.messages import GlobalParameters
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.transport import Delivery

Rank = tuple[bool, int]
"""Which of two messages of one version counts: one that is whole, because the queue may have
dropped a part of its difference; then the larger serial of a seal, because who is to read it may
change within an epoch.
"""
Place = tuple[int, int, Rank]
"""Epoch, number and rank: of two versions of a run the one with the larger place is newer."""


def rank_of(header: ChunkHeader) -> Rank:
    """Return the rank of the message that a chunk is of."""
    return header.kind == GlobalParameters.KIND, header.seal.serial if header.seal else 0


@dataclass(slots=True)
class Version:
    """A version that is being received, trained on, or answered."""

    run: str
    epoch: int
    number: int
    digest: str
    """What an update names it by."""
    num_chunks: int
    assembly: Assembly | None
    """Its bytes; None once it is answered, because they are no longer needed."""
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    """The deliveries to acknowledge at the end, by chunk, without the bodies."""
    seen_again: set[int] = field(default_factory=set)
    """The chunks that arrived again after it was answered."""
    num_bytes: int = 0
    """Length of the whole message."""
    rank: Rank = (False, 0)
    sent_as: str = ""
    """The digest it came under: another one than its own where it came as a difference."""
    wants_whole: bool = False
    """Whether the version after this one came as a difference that cannot be applied."""
    began_at: float = 0.0
    """When its first chunk arrived, in seconds of the receiver's clock."""

    @classmethod
    def begun(cls, header: ChunkHeader, limits: ReaderLimits, *, now: float) -> Self:
        """Return a version of which no chunk is here yet, and room for all of its bytes.

        Args:
            header: of any of its chunks.
            limits: those of the reader, which the header keeps.
            now: seconds of the receiver's clock.
        """
        labels = header.labels
        return cls(
            run=labels.run or "",
            epoch=header.epoch or 0,
            number=labels.version or 0,
            digest=header.content,
            sent_as=header.content,
            num_chunks=header.whole.count,
            assembly=Assembly(header, limits),
            num_bytes=header.whole.num_bytes,
            rank=rank_of(header),
            began_at=now,
        )

    @property
    def place(self) -> Place:
        """Its place in the order of the versions of its run."""
        return self.epoch, self.number, self.rank

    @property
    def is_whole(self) -> bool:
        """Whether all of its chunks are here."""
        return self.assembly is not None and self.assembly.complete

    def received(self, now: float) -> VersionReceived:
        """Return what people are told of a version that is whole now."""
        return VersionReceived(
            run=self.run,
            version=self.number,
            bytes=self.num_bytes,
            seconds=round(now - self.began_at, 6),
        )
