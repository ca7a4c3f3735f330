"""Limits on what one sender may cost the coordinator, per round and per time.

Refusing a message costs the coordinator little. What costs more (space in the spool, decoding, a
dead letter, an answer, a log line) is limited for every sender. Messages that are delivered again
after a lost connection are not counted twice, and updates that count are not limited, because
rounds may be as short as updates make them.
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
"""Rounds shorter than this count as one, so that closing rounds oneself gives no more attempts."""
MAX_COPIES = 4
"""How often a whole update may come again; every reminder after a deadline asks for one more."""
SPARE_CHUNKS = 64
MAX_MALFORMED = 16
"""Dead letters and lines in the log that one sender can cause in one round."""
MAX_ANSWERS = 16
"""Refusals in one round that a sender gets an answer to, with a line in log and history each."""
MAX_NEWS = 16
"""Log lines about one sender's joining and leaving in one round."""
NOTE_SECONDS = 60.0
"""Rounds shorter than this count as one for log lines, dead letters and answers."""
JOINED_SECONDS = 14 * 24 * 3600.0
"""How long a participant that joined is counted: as long as its queue exists."""
MAX_SENDERS = 100_000
"""Senders whose counts are kept; beyond it all start anew, which only shared logins can cause."""

Sender = tuple[str, str]
"""Login and participant: under one shared login, names are all that tells senders apart."""
_ABOUT_TENSORS = {Reason.INCOMPATIBLE, Reason.NON_FINITE, Reason.TOO_LARGE}
"""Refusals for which every value had to be checked."""
_ABOUT_TIME = {Reason.STALE, Reason.UNKNOWN_RUN}
"""Refusals that an honest sender gets for being slow."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one message may cost the coordinator."""

    refusal: Refusal | None = None
    """Why it is refused without further checks; None if it is not."""
    is_counted: bool = False
    """Whether it counts as refused: of a message in many chunks only the first one does."""
    may_note: bool = False
    """Whether a line is written to the log and the history."""
    may_answer: bool = False
    """Whether its sender gets an answer."""


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
    """Counts what each sender has cost, and returns one verdict for each message.

    Used by the coordinator's work thread.
    """

    def __init__(self, *, max_participants: int = 10_000) -> None:
        """Limit the participants of one shared login to `max_participants`."""
        self._max_participants = max_participants
        self._joined: dict[str, dict[str, float]] = {}
        """By login, when each of its participants last joined; the oldest first."""
        self._attempts: dict[Sender, _Attempts] = {}
        self._notes: dict[Sender, _Notes] = {}
        self._attempts_since = self._notes_since = 0.0

    def open_round(self, now: float) -> None:
        """Reset the counts that are old enough; `now` is the time of a monotonic clock."""
        if now >= self._attempts_since + ATTEMPT_SECONDS:
            self._attempts_since = now
            self._attempts.clear()
        if now >= self._notes_since + NOTE_SECONDS:
            self._notes_since = now
            self._notes.clear()

    def refusal_to_join(self, sender: Sender, now: float) -> Refusal | None:
        """Count a participant that joins; return why it may not, because each costs a queue."""
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

    def of_chunk(
        self,
        sender: Sender,
        header: ChunkHeader,
        outside: Refusal | None,
        *,
        instance: str | None,
        counted_before: bool,
    ) -> Verdict:
        """Count a chunk of an update, and return the verdict on it.

        Args:
            sender: the checked sender.
            header: the chunk's headers.
            outside: why the update cannot count, by its labels alone; None if it can.
            instance: the present start of the participant: each one is answered anew.
            counted_before: whether this may be a delivery that was counted already.
        """
        attempts, digest = self._attempts_of(sender), header.whole.digest
        is_first = digest not in attempts.chunks
        refusal = self._too_much(attempts, header, counted_before=counted_before)
        refusal = refusal or attempts.hopeless.get(digest)
        if refusal is None:
            refusal = outside
            if outside is not None and outside.reason in _ABOUT_TIME:
                self._late(attempts, digest)
        if refusal is None:
            return Verdict()
        if is_first or not header.index or refusal.reason is Reason.FLOOD:
            return self._refused(sender, header.labels.version or 0, refusal, instance)
        return Verdict(refusal)

    def of_update(
        self,
        sender: Sender,
        digest: str,
        base_version: int,
        refusal: Refusal,
        *,
        instance: str | None,
    ) -> Verdict:
        """Return the verdict on a whole update that was checked and refused."""
        if refusal.reason in _ABOUT_TENSORS:
            self.remember(sender, digest, refusal)
        return self._refused(sender, base_version, refusal, instance)

    def of_mistake(self, login: str | None, refusal: Refusal, *, can_answer: bool) -> Verdict:
        """Count a message that is malformed or in another's name; return the verdict on it.

        Args:
            login: the login of the connection it came from, if the message has it.
            refusal: what is wrong with it.
            can_answer: whether the login is also the name of a queue, to which an answer can go.
        """
        sender = (login or "", "")
        notes = self._notes_of(sender)
        notes.num_malformed += 1
        may_note = notes.num_malformed <= MAX_MALFORMED
        # A malformed message over the limit is dropped without a log line.
        is_answered = can_answer and (may_note or refusal.reason is not Reason.MALFORMED)
        may_answer = is_answered and self._may_answer(sender, str(refusal))
        return Verdict(refusal, is_counted=True, may_note=may_note, may_answer=may_answer)

    def folded(self, sender: Sender, digest: str) -> None:
        """Do not count the attempt of an update that counts."""
        attempts = self._attempts_of(sender)
        attempts.chunks.pop(digest, None)
        attempts.late.discard(digest)

    def remember(self, sender: Sender, digest: str, refusal: Refusal) -> None:
        """Refuse the same bytes from now on without decoding them again."""
        self._attempts_of(sender).hopeless[digest] = refusal

    def may_tell(self, sender: Sender) -> bool:
        """Count a log line about a sender's joining or leaving; return False if over the limit."""
        notes = self._notes_of(sender)
        notes.num_news += 1
        return notes.num_news <= MAX_NEWS

    @staticmethod
    def _too_much(
        attempts: _Attempts, header: ChunkHeader, *, counted_before: bool
    ) -> Refusal | None:
        """Count a chunk; return a refusal if it is over the limit."""
        chunks, digest = attempts.chunks, header.whole.digest
        if digest not in chunks and len(chunks) - len(attempts.late) >= MAX_ATTEMPTS:
            return Refusal(Reason.FLOOD, f"{MAX_ATTEMPTS} different updates in a round are enough")
        if not counted_before or digest not in chunks:
            chunks[digest] += 1
        if chunks[digest] > MAX_COPIES * header.whole.count + SPARE_CHUNKS:
            return Refusal(Reason.FLOOD, "the same update came too often")
        return None

    @staticmethod
    def _late(attempts: _Attempts, digest: str) -> None:
        """Do not count the attempt of an update that is too late, unless too many are."""
        if len(attempts.late) < MAX_LATE:
            attempts.late.add(digest)

    def _refused(
        self, sender: Sender, base_version: int, refusal: Refusal, instance: str | None
    ) -> Verdict:
        """Return the verdict on a refused update of a checked sender."""
        is_news = refusal.reason is not Reason.DUPLICATE or bool(refusal.detail)
        # One answer to a flood is enough, whatever versions it names.
        about = Reason.FLOOD if refusal.reason is Reason.FLOOD else (base_version, instance)
        may_tell = is_news and self._may_answer(sender, about)
        return Verdict(refusal, is_counted=True, may_note=may_tell, may_answer=may_tell)

    def _may_answer(self, sender: Sender, about: object) -> bool:
        """Return whether a sender gets an answer: once for each refusal, up to the limit."""
        answered = self._notes_of(sender).answered
        if about in answered or len(answered) >= MAX_ANSWERS:
            return False
        answered.add(about)
        return True

    def _attempts_of(self, sender: Sender) -> _Attempts:
        if len(self._attempts) >= MAX_SENDERS and sender not in self._attempts:
            self._attempts.clear()
        return self._attempts.setdefault(sender, _Attempts())

    def _notes_of(self, sender: Sender) -> _Notes:
        if len(self._notes) >= MAX_SENDERS and sender not in self._notes:
            self._notes.clear()
        return self._notes.setdefault(sender, _Notes())
