"""Sealed bytes as signed chunks, and whether a signature holds."""

from dataclasses import replace

from fanfold.schemas.chunk_header import ChunkHeader
from fanfold.schemas.chunking import Chunk, cut
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import Message
from fanfold.schemas.seal import Seal
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.statement import statement, statement_of

REMEMBERED = 256
"""Signatures that need not be checked again: every chunk of a message has the same one."""


def signed_chunks(
    message: Message,
    body: memoryview,
    *,
    identity: Identity,
    federation: str,
    to: str,
    serial: int,
    chunk_bytes: int,
    epoch: int | None = None,
    content: str | None = None,
) -> list[Chunk]:
    """Return the chunks of a sealed message, each with the sender's signature in its headers.

    Args:
        message: what is sealed in `body`; its labels become headers.
        body: the sealed message.
        identity: the sender's.
        federation: the name of the federation.
        to: the reader, as in `statement`.
        serial: greater than all before, or 0.
        chunk_bytes: bytes in each chunk but the last.
        epoch: the coordinator's.
        content: of what is for everybody.
    """
    encoded = Encoded(message, (), body.nbytes, (body,))
    chunks = cut(encoded, chunk_bytes=chunk_bytes, epoch=epoch, is_sealed=True)
    seal = Seal(b"", serial, content)
    text = statement(chunks[0].header.whole, epoch, seal, federation=federation, to=to)
    seal = replace(seal, signature=identity.signing.sign(text))
    return [Chunk(replace(chunk.header, seal=seal), chunk.body) for chunk in chunks]


class Signatures:
    """Checks the signatures of one federation, each once. For one thread."""

    def __init__(self, federation: str) -> None:
        self._federation = federation
        self._good: set[tuple[object, ...]] = set()

    def hold(self, header: ChunkHeader, *, of: PublicIdentity, to: str) -> bool:
        """Return whether a message was signed by an identity, for this reader."""
        seal = header.seal
        if seal is None:
            return False
        known = (of, to, header.whole, header.epoch, seal)
        if known in self._good:
            return True
        if not of.has_signed(
            statement_of(header, federation=self._federation, to=to), seal.signature
        ):
            return False
        if len(self._good) >= REMEMBERED:
            self._good.clear()
        self._good.add(known)
        return True
