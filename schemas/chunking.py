"""Cutting a message into chunks, and putting chunks together again.

Each byte is hashed once on either side: a chunk's digest is the BLAKE3 of its body, the digest of
the whole is the BLAKE3 over the chunks' digests. It stands in the headers of the first chunk, so a
message leaves once all of it is hashed. One thread does that: more gain 4 ms for 100 MB.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from blake3 import blake3

from fanfold.schemas.buffers import Buffer, MemoryBuffer
from fanfold.schemas.chunk_header import (
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MIN_CHUNK_BYTES,
    ChunkHeader,
    Labels,
    WholeMessage,
)
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import Decoded, Encoded, decode
from fanfold.schemas.reader_limits import ReaderLimits

__all__ = [
    "DEFAULT_CHUNK_BYTES",
    "Assembly",
    "Buffer",
    "Chunk",
    "ChunkHeader",
    "Labels",
    "MemoryBuffer",
    "Unseal",
    "WholeMessage",
    "check_cut",
    "cut",
    "slices",
]

DEFAULT_CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """One AMQP message, but for the exchange and the routing key."""

    header: ChunkHeader
    body: bytes | memoryview
    """A view where the chunk lies within one tensor: whoever publishes it makes bytes of it."""

    @property
    def kind(self) -> str:
        """The AMQP property `type`."""
        return self.header.kind

    @property
    def message_id(self) -> str:
        """The AMQP property `message_id`."""
        return self.header.message_id

    @property
    def headers(self) -> dict[str, str | int]:
        """The AMQP headers."""
        return self.header.headers()


def check_cut(num_bytes: int, chunk_bytes: int) -> None:
    """Check that a message of `num_bytes` may be cut in chunks of `chunk_bytes`.

    Raises:
        InvalidInputError: if not.
    """
    if not MIN_CHUNK_BYTES <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise InvalidInputError(
            f"chunk_bytes is {chunk_bytes}; choose {MIN_CHUNK_BYTES} to {MAX_CHUNK_BYTES}, "
            "because RabbitMQ 4 refuses bodies from 16 MiB on"
        )
    if num_bytes > MAX_CHUNKS * chunk_bytes:
        raise InvalidInputError(
            f"a message of {num_bytes} bytes has more than {MAX_CHUNKS} chunks of {chunk_bytes} "
            "bytes, and AMQP counts no further; choose --chunk-bytes "
            f"{-(-num_bytes // MAX_CHUNKS)} or more"
        )


def cut(
    encoded: Encoded,
    *,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    epoch: int | None = None,
    is_sealed: bool = False,
) -> list[Chunk]:
    """Return the chunks of a message; all but the last have exactly `chunk_bytes` bytes.

    Args:
        encoded: the message.
        chunk_bytes: at least 1 KiB, below 16 MiB, and so many that 65,535 chunks are enough.
        epoch: the coordinator's, for what a coordinator sends.
        is_sealed: whether the bytes are sealed, and say less on the outside.

    Raises:
        InvalidInputError: if no message may be cut like that.
    """
    check_cut(encoded.num_bytes, chunk_bytes)
    bodies = list(slices(encoded.buffers, chunk_bytes))
    digests = [blake3(body).digest() for body in bodies]
    whole = WholeMessage(
        kind=encoded.message.KIND,
        digest=blake3(b"".join(digests)).hexdigest(),
        count=len(bodies),
        chunk_bytes=chunk_bytes,
        num_bytes=encoded.num_bytes,
        labels=Labels.of(encoded.message).sealed() if is_sealed else Labels.of(encoded.message),
    )
    return [
        Chunk(ChunkHeader(whole, index, digest, epoch), body)
        for index, (body, digest) in enumerate(zip(bodies, digests, strict=True))
    ]


def slices(buffers: Iterable[memoryview], num_bytes: int) -> Iterator[bytes | memoryview]:
    """Yield slices of buffers that follow each other, all but the last of the same length.

    A view where one lies within one buffer, joined where it spans several.
    """
    pieces: list[memoryview] = []
    room = num_bytes
    for buffer in buffers:
        rest = buffer
        while rest.nbytes:
            pieces.append(rest[:room])
            rest = rest[room:]
            room -= pieces[-1].nbytes
            if not room:
                yield _joined(pieces)
                pieces, room = [], num_bytes
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[memoryview]) -> bytes | memoryview:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


Unseal = Callable[[memoryview, ReaderLimits], memoryview]
"""Opens a sealed message, if what is in it keeps to the limits."""


class Assembly:
    """One message being received, its chunks in any order, into one buffer.

    It belongs to one thread at a time. The tensors view the buffer, which lives as long as any of
    them.

    Args:
        first: the header of any chunk, parsed with the same limits; that chunk is added later.
        limits: the reader's bounds.
        buffer: of exactly the message's size, such as a file; by default memory, which is taken
            when the first chunk comes.

    Raises:
        ValueError: if the buffer is of another size.
    """

    def __init__(
        self, first: ChunkHeader, limits: ReaderLimits, buffer: Buffer | None = None
    ) -> None:
        self.identity = first.whole
        self._limits = limits
        self._buffer = buffer
        if buffer is not None and buffer.num_bytes != first.whole.num_bytes:
            raise ValueError(f"the buffer is not {first.whole.num_bytes} bytes")
        self._digests: dict[int, bytes] = {}
        self._was_sealed = False

    @property
    def missing(self) -> int:
        """Chunks still to come."""
        return self.identity.count - len(self._digests)

    @property
    def complete(self) -> bool:
        """True once every chunk is there, and the digest of the whole was right."""
        return not self.missing

    @property
    def received(self) -> Mapping[int, bytes]:
        """The raw digest of every chunk that is there, by index: what `restore` takes."""
        return MappingProxyType(self._digests)

    def add(self, header: ChunkHeader, body: bytes | memoryview) -> bool:
        """Put a chunk in its place and return whether the message is complete.

        A chunk that is there already changes nothing.

        Raises:
            MalformedMessageError: if the chunk is of another message, or has another digest than
                announced, or if it is the last one and the digest of the whole is wrong: then
                nothing of this message can be used.
        """
        if header.whole != self.identity:
            raise MalformedMessageError("the chunk belongs to another message")
        if header.index in self._digests:
            if self._digests[header.index] != header.chunk_digest:
                raise MalformedMessageError(f"chunk {header.index} came with two digests")
            return self.complete
        if len(body) != header.length or blake3(body).digest() != header.chunk_digest:
            raise MalformedMessageError(f"the body of chunk {header.index} has another digest")
        self._put(header, body)
        self._digests[header.index] = header.chunk_digest
        if self.complete:
            self._check_digest()
        return self.complete

    def restore(self, received: Mapping[int, bytes]) -> None:
        """Count as received what lies in the supplied room from an earlier life.

        Only what still has its digest counts; the rest has to be sent again.
        """
        if not received or self._buffer is None:
            return
        there = self._buffer.view()
        for index, digest in received.items():
            header = ChunkHeader(self.identity, index, digest)
            chunk = there[header.offset : header.offset + header.length]
            if blake3(chunk).digest() == digest:
                self._digests[index] = digest
        if self.complete:
            self._check_digest()

    def whole(self) -> memoryview:
        """Return the bytes of the complete message, without a copy."""
        if not self.complete or self._buffer is None:
            raise ValueError(f"{self.missing} chunks of the message are missing")
        return self._buffer.view()

    def unseal(self, unseal: Unseal | None) -> None:
        """Hold from now on what was sealed in the complete message; None leaves it as it is.

        Raises:
            MalformedMessageError: if it cannot be opened.
        """
        if unseal is not None:
            self._buffer = MemoryBuffer(unseal(self.whole(), self._limits))
            self._was_sealed = True

    def decode(self) -> Decoded:
        """Return the complete message, which must be what its labels said on the outside.

        Raises:
            MalformedMessageError: if it is not.
        """
        decoded = decode(self.whole(), kind=self.identity.kind, limits=self._limits)
        labels = Labels.of(decoded.message)
        if (labels.sealed() if self._was_sealed else labels) != self.identity.labels:
            raise MalformedMessageError("the message is not what its chunks' headers say")
        return decoded

    def _put(self, header: ChunkHeader, body: bytes | memoryview) -> None:
        if self._buffer is None and self.identity.count == 1:
            self._buffer = MemoryBuffer.holding(body)
            return
        if self._buffer is None:
            self._buffer = MemoryBuffer.of(self.identity.num_bytes)
        self._buffer.put(header.offset, body)

    def _check_digest(self) -> None:
        digests = b"".join(self._digests[index] for index in range(self.identity.count))
        if blake3(digests).hexdigest() != self.identity.digest:
            raise MalformedMessageError("the digest of the whole message is wrong")
