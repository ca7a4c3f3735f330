"""How much one sender may ask of the coordinator within one round.

A message that is refused costs the coordinator little, and the queue behind it moves on; what
costs more, such as room in the spool, a decoding, a dead letter or a line in the log, every sender
has a fixed number of. What is handed out again after a lost connection is not counted twice.
"""

from collections import Counter
from dataclasses import dataclass, field

from coordinator.refusals import Reason, Refusal
from schemas.chunks import ChunkPlace

MAX_ATTEMPTS = 8
"""Different updates from one sender in one round; an honest one sends one or two."""
MAX_COPIES = 4
"""How often a whole update may come again; every reminder after a deadline asks for one more."""
SPARE_CHUNKS = 64
MAX_MALFORMED = 16
"""Dead letters and lines in the log that one sender can cause in one round."""
MAX_SENDERS = 100_000
"""Ledgers kept; beyond it everybody starts anew, which only shared logins can bring about."""

Sender = tuple[str, str]
"""Login and participant: under one shared login, names are all that tells senders apart."""


@dataclass(slots=True)
class _Ledger:
    chunks: Counter[str] = field(default_factory=Counter)
    """Chunks received by the digest of their message."""
    num_malformed: int = 0


class Gatekeeper:
    """Keeps a ledger for each sender. Belongs to the coordinator's work thread."""

    def __init__(self) -> None:
        self._ledgers: dict[Sender, _Ledger] = {}

    def open_round(self) -> None:
        """Start all ledgers anew."""
        self._ledgers.clear()

    def is_first_of(self, sender: Sender, place: ChunkPlace) -> bool:
        """Whether no chunk of this message was let in before, in this round."""
        return place.whole.digest not in self._ledger(sender).chunks

    def refusal(self, sender: Sender, place: ChunkPlace, *, redelivered: bool) -> Refusal | None:
        """Count a chunk, and say why it is one too many; None means it is not."""
        chunks = self._ledger(sender).chunks
        digest = place.whole.digest
        if digest not in chunks and len(chunks) >= MAX_ATTEMPTS:
            return Refusal(Reason.FLOOD, f"{MAX_ATTEMPTS} different updates in a round are enough")
        if not redelivered or digest not in chunks:
            chunks[digest] += 1
        if chunks[digest] > MAX_COPIES * place.whole.count + SPARE_CHUNKS:
            return Refusal(Reason.FLOOD, "the same update came too often")
        return None

    def may_complain(self, sender: Sender) -> bool:
        """Count a message that is malformed, or in another's name; False if too many came."""
        ledger = self._ledger(sender)
        ledger.num_malformed += 1
        return ledger.num_malformed <= MAX_MALFORMED

    def _ledger(self, sender: Sender) -> _Ledger:
        if len(self._ledgers) >= MAX_SENDERS and sender not in self._ledgers:
            self._ledgers.clear()
        return self._ledgers.setdefault(sender, _Ledger())
