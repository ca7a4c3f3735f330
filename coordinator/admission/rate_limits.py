"""How much one sender may ask of the coordinator, within one round and within a time.

A message that is refused costs the coordinator little, and the queue behind it moves on; what
costs more, such as room in the spool, a decoding, a dead letter, an answer or a line in the log,
every sender has a fixed number of. What is handed out again after a lost connection is not counted
twice, and an update that counts takes nothing: rounds may be as short as updates make them.
"""

from collections import Counter
from dataclasses import dataclass, field

from fanfold.coordinator.aggregation.refusals import Reason, Refusal
from fanfold.schemas.chunking import ChunkHeader

MAX_ATTEMPTS = 8
"""Different updates from one sender in one round; an honest one sends one or two."""
MAX_LATE = 1024
"""Those among them that are too late to count: they cost nothing, and where rounds are short an
honest sender can have dozens of them in a second.
"""
ATTEMPT_SECONDS = 1.0
"""Rounds shorter than this count as one: whose own update closes a round gains nothing by it."""
MAX_COPIES = 4
"""How often a whole update may come again; every reminder after a deadline asks for one more."""
SPARE_CHUNKS = 64
MAX_MALFORMED = 16
"""Dead letters and lines in the log that one sender can cause in one round."""
MAX_ANSWERS = 16
"""Refusals in one round that a sender is told of, with a line in log and history for each."""
MAX_NEWS = 16
"""Lines in the log about one sender's coming and going in one round."""
NOTE_SECONDS = 60.0
"""The same for what is written and answered; there, nothing is lost by waiting."""
JOINED_SECONDS = 14 * 24 * 3600.0
"""How long one who joined counts, like the queue that was made for it."""
MAX_SENDERS = 100_000
"""Ledgers kept; beyond it everybody starts anew, which only shared logins can bring about."""

Sender = tuple[str, str]
"""Login and participant: under one shared login, names are all that tells senders apart."""


@dataclass(slots=True)
class _Attempts:
    chunks: Counter[str] = field(default_factory=Counter)
    """Chunks received by the digest of their message."""
    late: set[str] = field(default_factory=set)
    """Messages among them that came too late to count: they are no attempts."""
    hopeless: dict[str, Refusal] = field(default_factory=dict)
    """Messages that were looked at, by digest: the same bytes are refused unread."""


@dataclass(slots=True)
class _Notes:
    num_malformed: int = 0
    num_news: int = 0
    answered: set[object] = field(default_factory=set)


class RateLimits:
    """Keeps ledgers for each sender. Belongs to the coordinator's work thread."""

    def __init__(self, *, max_participants: int = 10_000) -> None:
        """Let one login that is shared bring in so many participants."""
        self._max_participants = max_participants
        self._joined: dict[str, dict[str, float]] = {}
        """When whom a login brought in was last heard to join, by login; the oldest first."""
        self._attempts: dict[Sender, _Attempts] = {}
        self._notes: dict[Sender, _Notes] = {}
        self._attempts_since = self._notes_since = 0.0

    def open_round(self, now: float) -> None:
        """Start the ledgers anew that are old enough; `now` is of a monotonic clock."""
        if now >= self._attempts_since + ATTEMPT_SECONDS:
            self._attempts_since = now
            self._attempts.clear()
        if now >= self._notes_since + NOTE_SECONDS:
            self._notes_since = now
            self._notes.clear()

    def refusal_to_join(self, sender: Sender, now: float) -> Refusal | None:
        """Count one who joins; say why it may not. Each has a queue, and is sent the version."""
        login, participant = sender
        joined = self._joined.setdefault(login, {})
        is_new = joined.pop(participant, None) is None
        while joined and next(iter(joined.values())) < now - JOINED_SECONDS:
            del joined[next(iter(joined))]
        if is_new and len(joined) >= self._max_participants:
            return Refusal(
                Reason.FLOOD,
                f"{self._max_participants} participants under one login are enough; "
                "--max-participants allows more",
            )
        joined[participant] = now
        return None

    def is_first_of(self, sender: Sender, header: ChunkHeader) -> bool:
        """Whether no chunk of this message was let in before, in this round."""
        return header.whole.digest not in self._attempts_of(sender).chunks

    def refusal(
        self, sender: Sender, header: ChunkHeader, *, counted_before: bool
    ) -> Refusal | None:
        """Count a chunk, and say why it is not looked at; None means it is.

        Args:
            sender: who sent it.
            header: where it belongs.
            counted_before: whether this may be a delivery that was counted already.
        """
        attempts = self._attempts_of(sender)
        chunks, digest = attempts.chunks, header.whole.digest
        if digest not in chunks and len(chunks) - len(attempts.late) >= MAX_ATTEMPTS:
            return Refusal(Reason.FLOOD, f"{MAX_ATTEMPTS} different updates in a round are enough")
        if not counted_before or digest not in chunks:
            chunks[digest] += 1
        if chunks[digest] > MAX_COPIES * header.whole.count + SPARE_CHUNKS:
            return Refusal(Reason.FLOOD, "the same update came too often")
        return attempts.hopeless.get(digest)

    def folded(self, sender: Sender, digest: str) -> None:
        """Give back the attempt of an update that counts."""
        attempts = self._attempts_of(sender)
        attempts.chunks.pop(digest, None)
        attempts.late.discard(digest)

    def late(self, sender: Sender, digest: str) -> None:
        """Give back the attempt of an update that is too late to count, unless too many are."""
        late = self._attempts_of(sender).late
        if len(late) < MAX_LATE:
            late.add(digest)

    def remember(self, sender: Sender, digest: str, refusal: Refusal) -> None:
        """Refuse the same bytes from now on without looking at them again."""
        self._attempts_of(sender).hopeless[digest] = refusal

    def may_complain(self, sender: Sender) -> bool:
        """Count a message that is malformed, or in another's name; False if too many came."""
        notes = self._notes_of(sender)
        notes.num_malformed += 1
        return notes.num_malformed <= MAX_MALFORMED

    def may_answer(self, sender: Sender, about: object) -> bool:
        """Whether a sender is to be told of a refusal: of each thing once, and not of too many."""
        answered = self._notes_of(sender).answered
        if about in answered or len(answered) >= MAX_ANSWERS:
            return False
        answered.add(about)
        return True

    def may_tell(self, sender: Sender) -> bool:
        """Count a line about a sender's coming or going; False if too many came."""
        notes = self._notes_of(sender)
        notes.num_news += 1
        return notes.num_news <= MAX_NEWS

    def _attempts_of(self, sender: Sender) -> _Attempts:
        if len(self._attempts) >= MAX_SENDERS and sender not in self._attempts:
            self._attempts.clear()
        return self._attempts.setdefault(sender, _Attempts())

    def _notes_of(self, sender: Sender) -> _Notes:
        if len(self._notes) >= MAX_SENDERS and sender not in self._notes:
            self._notes.clear()
        return self._notes.setdefault(sender, _Notes())
