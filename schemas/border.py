"""What a message crosses between its sender and the wire: nothing, or a seal.

Both ends write and read all their messages through a border. `IN_CLEAR` is the plain protocol; the
sealed ones are in `sealing/`.
"""

from typing import Protocol

from fanfold.schemas.chunk_header import ChunkHeader
from fanfold.schemas.chunking import DEFAULT_CHUNK_BYTES, Chunk, Unseal, cut
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.reader_limits import ReaderLimits


class Border(Protocol):
    """One end of the wire, for one thread unless a method says otherwise."""

    @property
    def is_sealed(self) -> bool:
        """Whether nothing crosses it in clear."""
        ...

    def limits(self, limits: ReaderLimits) -> ReaderLimits:
        """Return the limits on what arrives, where these hold for what is inside."""
        ...

    def problem(self, header: ChunkHeader) -> str | None:
        """Say why nothing of a message is believed, from the header of any chunk; None: it is.

        It costs neither memory nor state, and comes before anything that does.
        """
        ...

    def opener(self, header: ChunkHeader) -> Unseal | None:
        """Return what opens a message that is believed; None where it is in clear."""
        ...

    def seal(
        self,
        encoded: Encoded,
        *,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
        epoch: int | None = None,
        to: str | None = None,
    ) -> list[Chunk]:
        """Return the chunks of a message, ready to be sent.

        Args:
            encoded: the message.
            chunk_bytes: bytes in each but the last.
            epoch: the coordinator's, for what a coordinator sends.
            to: the participant that it is for, if a coordinator sends it to one alone.

        Returns:
            The chunks; none if nobody could open them.
        """
        ...


class CoordinatorsBorder(Border, Protocol):
    """The coordinator's end. It belongs to the work thread."""

    @property
    def revision(self) -> int:
        """Another number whenever what is sealed for everybody has to be sealed again."""
        ...

    def prepare(self, run: str, version: int, *, is_known: bool) -> None:
        """Have at hand, and on the disk, what the next version is sealed with.

        Args:
            run: the run's id.
            version: the version that is sealed next.
            is_known: whether it was published before.

        Raises:
            InvalidInputError: if what is on the disk is damaged.
            OSError: if the disk refuses.
        """

    def sealed_bytes(self, num_plain: int) -> int:
        """Return how many bytes a message to everybody has on the wire."""
        ...


class Clear:
    """The plain protocol: whoever reads the broker reads everything. For any thread."""

    is_sealed = False
    revision = 0

    def prepare(self, run: str, version: int, *, is_known: bool) -> None:
        """Need nothing."""

    def sealed_bytes(self, num_plain: int) -> int:
        """Return the same."""
        return num_plain

    def limits(self, limits: ReaderLimits) -> ReaderLimits:
        """Return the same."""
        return limits

    def problem(self, header: ChunkHeader) -> str | None:
        """Believe what is in clear; the login is checked elsewhere."""
        if header.seal is None:
            return None
        return "it is sealed, and this end has no keys; start it with --identity"

    def opener(self, header: ChunkHeader) -> Unseal | None:
        """Open nothing."""
        del header
        return None

    def seal(
        self,
        encoded: Encoded,
        *,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
        epoch: int | None = None,
        to: str | None = None,
    ) -> list[Chunk]:
        """Cut the message as it is; what is for one participant needs no epoch."""
        return cut(encoded, chunk_bytes=chunk_bytes, epoch=epoch if to is None else None)


IN_CLEAR = Clear()
