"""What the sender of a sealed message signs: everything that its headers say, and to whom."""

from fanfold.schemas.chunk_header import ChunkHeader, WholeMessage
from fanfold.schemas.seal import Seal

COORDINATOR, EVERYBODY = "coordinator", "everybody"


def to_participant(participant: str) -> str:
    """Return how a statement names one participant as the reader."""
    return f"participant {participant}"


def statement_of(header: ChunkHeader, *, federation: str, to: str) -> bytes:
    """Return the statement under the message of a chunk.

    The digest is of all its bytes, as they are sealed. A line for each name and value; a value that
    is not there is empty. None of them can hold a line feed.

    Args:
        header: of any chunk, but what is in `seal` besides the signature counts, too.
        federation: the name of the federation.
        to: `COORDINATOR`, `EVERYBODY`, or a participant.
    """
    seal = header.seal or Seal(b"")
    return statement(header.whole, header.epoch, seal, federation=federation, to=to)


def statement(
    whole: WholeMessage, epoch: int | None, seal: Seal, *, federation: str, to: str
) -> bytes:
    """Return the same from the parts of a header."""
    labels = whole.labels
    lines = {
        "federation": federation,
        "to": to,
        "kind": whole.kind,
        "run": labels.run,
        "version": labels.version,
        "participant": labels.participant,
        "epoch": epoch,
        "serial": seal.serial,
        "content": seal.content,
        "digest": whole.digest,
        "chunks": whole.count,
        "chunk_bytes": whole.chunk_bytes,
        "bytes": whole.num_bytes,
    }
    told = (f"{name} {'' if value is None else value}\n" for name, value in lines.items())
    return ("fanfold sealed message 2\n" + "".join(told)).encode()
