"""A version on its way through a participant: received, trained on, answered."""

from dataclasses import dataclass, field

from fanfold.schemas.chunking import Assembly
from fanfold.schemas.events.participant import VersionReceived
from fanfold.transport import Delivery


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
    rank: tuple[bool, int] = (False, 0)
    """Which of two messages of one version counts: one that is whole, because the queue may have
    dropped a part of its difference; then the larger serial of a seal, because who is to read it
    may change within an epoch.
    """
    sent_as: str = ""
    """The digest it came under: another one than its own where it came as a difference."""
    wants_whole: bool = False
    """Whether the version after this one came as a difference that cannot be applied."""
    began_at: float = 0.0
    """When its first chunk arrived, in seconds of the receiver's clock."""

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
