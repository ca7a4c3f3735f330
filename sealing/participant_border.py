"""A participant's end of a sealed federation."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fanfold.schemas.chunking import DEFAULT_CHUNK_BYTES, Chunk, ChunkHeader, Unseal, slices
from fanfold.schemas.difference_message import GlobalDifference
from fanfold.schemas.errors import MalformedMessageError
from fanfold.schemas.message_codec import Encoded
from fanfold.schemas.messages import (
    FinalModel,
    GlobalParameters,
    RunFinished,
    Update,
    UpdateRefused,
)
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.sealing.derivation import KEY_BYTES, derived, fingerprint
from fanfold.sealing.envelope import (
    MAX_ENTRIES,
    MESSAGE,
    RUN_KEY,
    Agreement,
    Envelope,
    agreed_key,
    enclose,
    envelope_bytes,
    unwrapped,
)
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.run_keys import version_key
from fanfold.sealing.segments import SEGMENT_BYTES
from fanfold.sealing.signing import Signatures, signed_chunks
from fanfold.sealing.statement import COORDINATOR, EVERYBODY, to_participant

_READERS: dict[str, Callable[[str], str]] = {
    GlobalParameters.KIND: lambda _participant: EVERYBODY,
    GlobalDifference.KIND: lambda _participant: EVERYBODY,
    FinalModel.KIND: lambda _participant: EVERYBODY,
    RunFinished.KIND: lambda _participant: EVERYBODY,
    UpdateRefused.KIND: to_participant,
}


class ParticipantBorder:
    """Reads what the coordinator signed, and seals everything for it.

    `seal` may be called with an update by one thread while another seals events.

    Args:
        identity: this participant's.
        coordinator: whom it believes, and nobody else.
        participant: its id.
        federation: the name of the federation.
        first_serial: greater than those of all earlier starts, such as the microseconds of the
            clock on the wall: what an earlier start said is then told from what this one says.
    """

    is_sealed = True

    def __init__(
        self,
        identity: Identity,
        *,
        coordinator: PublicIdentity,
        participant: str,
        federation: str,
        first_serial: int,
    ) -> None:
        self._identity = identity
        self._public = identity.public
        self._secret = identity.own_secret(b"fanfold update 1")
        self._coordinator = coordinator
        self._participant = participant
        self._federation = federation
        self._serial = first_serial
        self._signatures = Signatures(federation)
        self._run_key: tuple[bytes, bytes, bytes] | None = None
        """The last one: the ephemeral key it was wrapped with, the entry, and the key itself."""

    def limits(self, limits: ReaderLimits) -> ReaderLimits:
        """Allow for the table of keys and the tags."""
        return replace(limits, max_bytes=envelope_bytes(limits.max_bytes, MAX_ENTRIES))

    def problem(self, header: ChunkHeader) -> str | None:
        """Believe what the coordinator has signed, for this participant or for everybody."""
        if header.seal is None:
            return f"{header.kind} came in clear, and this federation seals its messages"
        reader = _READERS.get(header.kind)
        if reader is None:
            return f"{header.kind} is nothing that a coordinator says"
        to = reader(self._participant)
        if not self._signatures.hold(header, of=self._coordinator, to=to):
            return f"{header.kind} is not signed by the coordinator that this participant knows"
        if to == EVERYBODY and header.seal.content is None:
            return f"{header.kind} does not name its content"
        return None

    def opener(self, header: ChunkHeader) -> Unseal:
        """Open with this participant's key, or with the run's that is wrapped for it."""
        return partial(self._open, header)

    def seal(
        self,
        encoded: Encoded,
        *,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
        epoch: int | None = None,
        to: str | None = None,
    ) -> list[Chunk]:
        """Seal a message for the coordinator; an update again and again to the same bytes."""
        del to
        pieces = list(slices(encoded.buffers, SEGMENT_BYTES))
        if encoded.message.KIND == Update.KIND:
            serial, secret = (
                0,
                derived(self._secret, b"fanfold update 1", fingerprint(pieces, self._secret)),
            )
        else:
            self._serial += 1
            serial, secret = self._serial, secrets.token_bytes(KEY_BYTES)
        agreement = Agreement(secret)
        key = agreement.key_for(self._coordinator, self._public, MESSAGE)
        return signed_chunks(
            encoded.message,
            enclose(pieces, key, ephemeral=agreement.public),
            identity=self._identity,
            federation=self._federation,
            to=COORDINATOR,
            serial=serial,
            chunk_bytes=chunk_bytes,
            epoch=epoch,
        )

    def _open(self, header: ChunkHeader, whole: memoryview, limits: ReaderLimits) -> memoryview:
        envelope = Envelope.parse(whole)
        if header.seal is not None and header.seal.content is not None:
            key = version_key(self._run_key_in(envelope), header.seal.content, self._coordinator)
        else:
            key = agreed_key(self._identity, envelope.ephemeral, self._coordinator, MESSAGE)
        return envelope.plaintext(key, max_bytes=limits.max_bytes)

    def _run_key_in(self, envelope: Envelope) -> bytes:
        entry = envelope.entry_of(self._public)
        if entry is None:
            raise MalformedMessageError(
                f"the run's key is not sealed for {self._participant}: its keys are not on the "
                "coordinator's roster, or not any more"
            )
        wrapped_as = (envelope.ephemeral, entry)
        if self._run_key is None or self._run_key[:2] != wrapped_as:
            key = agreed_key(self._identity, envelope.ephemeral, self._coordinator, RUN_KEY)
            self._run_key = (*wrapped_as, unwrapped(entry, key))
        return self._run_key[2]
