"""The coordinator's end of a sealed federation."""

import secrets
from dataclasses import replace
from functools import partial
from itertools import count

from fanfold.schemas.chunking import DEFAULT_CHUNK_BYTES, Chunk, ChunkHeader, Unseal, slices
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.sealing.derivation import KEY_BYTES, derived, fingerprint
from fanfold.sealing.envelope import (
    MESSAGE,
    Agreement,
    Envelope,
    agreed_key,
    enclose,
    envelope_bytes,
    num_entries,
    wrapped,
)
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.roster import RosterFile
from fanfold.sealing.run_keys import RunKey, RunKeys, version_key
from fanfold.sealing.segments import SEGMENT_BYTES
from fanfold.sealing.signing import Signatures, signed_chunks
from fanfold.sealing.statement import COORDINATOR, EVERYBODY, to_participant


class CoordinatorBorder:
    """Believes who is on the roster, and seals for one of them, or for all.

    Belongs to the coordinator's work thread.

    Args:
        identity: the coordinator's.
        roster: whose keys count; it may change at any time.
        keys: of the run.
        federation: the name of the federation.
    """

    is_sealed = True

    def __init__(
        self, identity: Identity, *, roster: RosterFile, keys: RunKeys, federation: str
    ) -> None:
        self._identity = identity
        self._public = identity.public
        self._roster = roster
        self._keys = keys
        self._federation = federation
        self._signatures = Signatures(federation)
        self._serials = count(1)
        self._run_key: RunKey | None = None
        self._table: tuple[bytes, int, bytes] | None = None
        """The last one: the run's key, the roster's revision, and the entries."""

    @property
    def revision(self) -> int:
        """Another number for every roster: what was sealed for everybody is to be sealed again."""
        return self._roster.roster.revision

    def prepare(self, run: str, version: int, *, is_known: bool) -> None:
        """Have the key of a version at hand, and on the disk.

        Args:
            run: the run's id.
            version: the version that is sealed next.
            is_known: whether it was published before.

        Raises:
            InvalidInputError: if the file of keys is damaged.
            OSError: if the disk refuses.
        """
        removals = self._roster.roster.removals
        self._run_key = self._keys.key_for(run, version, removals=removals, is_known=is_known)

    def sealed_bytes(self, num_plain: int) -> int:
        """Return how many bytes a message to everybody has now."""
        return envelope_bytes(num_plain, num_entries(len(self._roster.roster.members)))

    def limits(self, limits: ReaderLimits) -> ReaderLimits:
        """Allow for the ephemeral key and the tags."""
        return replace(limits, max_bytes=envelope_bytes(limits.max_bytes))

    def problem(self, header: ChunkHeader) -> str | None:
        """Believe what somebody on the roster has signed, under the id it stands there with."""
        participant = header.labels.participant
        if header.seal is None:
            return f"{header.kind} came in clear, and this federation seals its messages"
        theirs = self._roster.roster.members.get(participant or "")
        if theirs is None:
            return f"{participant} is not on the roster"
        if not self._signatures.hold(header, of=theirs, to=COORDINATOR):
            return f"{header.kind} is not signed with the keys of {participant}"
        return None

    def opener(self, header: ChunkHeader) -> Unseal:
        """Open with the coordinator's key."""
        theirs = self._roster.roster.members.get(header.labels.participant or "")
        return partial(self._open, theirs)

    def seal(
        self,
        encoded: Encoded,
        *,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
        epoch: int | None = None,
        to: str | None = None,
    ) -> list[Chunk]:
        """Seal a message for one member of the roster, or for all; nothing for who is not on it."""
        pieces = list(slices(encoded.buffers, SEGMENT_BYTES))
        if to is None:
            return self._for_everybody(encoded, pieces, chunk_bytes, epoch)
        reader = self._roster.roster.members.get(to)
        if reader is None:
            return []
        agreement = Agreement(secrets.token_bytes(KEY_BYTES))
        key = agreement.key_for(reader, self._public, MESSAGE)
        return signed_chunks(
            encoded.message,
            enclose(pieces, key, ephemeral=agreement.public),
            identity=self._identity,
            federation=self._federation,
            to=to_participant(to),
            serial=next(self._serials),
            chunk_bytes=chunk_bytes,
            epoch=epoch,
        )

    def _for_everybody(
        self,
        encoded: Encoded,
        pieces: list[bytes | memoryview],
        chunk_bytes: int,
        epoch: int | None,
    ) -> list[Chunk]:
        """Seal with the run's key; but for its table, the same message to the same bytes."""
        assert self._run_key is not None  # prepared
        run_key = self._run_key.secret
        content = fingerprint(pieces, run_key).hex()
        agreement = Agreement(derived(run_key, b"fanfold ephemeral 1"))
        body = enclose(
            pieces,
            version_key(run_key, content, self._public),
            ephemeral=agreement.public,
            entries=self._entries(run_key, agreement),
        )
        return signed_chunks(
            encoded.message,
            body,
            identity=self._identity,
            federation=self._federation,
            to=EVERYBODY,
            serial=next(self._serials),
            chunk_bytes=chunk_bytes,
            epoch=epoch,
            content=content,
        )

    def _entries(self, run_key: bytes, agreement: Agreement) -> bytes:
        roster = self._roster.roster
        if self._table is None or self._table[:2] != (run_key, roster.revision):
            readers = list(roster.members.values())
            table = wrapped(run_key, readers, agreement, self._public)
            self._table = (run_key, roster.revision, table)
        return self._table[2]

    def _open(
        self, theirs: PublicIdentity | None, whole: memoryview, limits: ReaderLimits
    ) -> memoryview:
        assert theirs is not None  # `problem` was asked
        envelope = Envelope.parse(whole)
        key = agreed_key(self._identity, envelope.ephemeral, theirs, MESSAGE)
        return envelope.plaintext(key, max_bytes=limits.max_bytes)
