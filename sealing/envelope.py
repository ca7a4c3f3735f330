"""A sealed message as bytes: for one who reads it, or for all who hold the run's key.

    letters "WRRS" | entries n, uint32 | ephemeral key, 32 | n entries of 56 bytes | segments

Without entries the key of the segments follows from an agreement between the ephemeral key and the
reader's own. With entries the message is for everybody on the roster: each entry holds the run's
key for one of them. See "Sealed messages" in `docs/protocol.md`. All of it is pure.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fanfold.schemas.buffers import MemoryBuffer
from fanfold.schemas.errors import MalformedMessageError
from fanfold.sealing.derivation import KEY_BYTES, derived
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.segments import (
    TAG_BYTES,
    open_into,
    plain_bytes,
    seal_into,
    sealed_bytes,
)

MAGIC = b"WRRS"
_PREFIX = struct.Struct("<4sI32s")
_ENTRY = struct.Struct(f"<8s{KEY_BYTES + TAG_BYTES}s")
MAX_ENTRIES = 1 << 16
LEAST_ENTRIES = 64
"""So many entries a table has at least, those without a reader filled with what looks like one."""
_NONCE = bytes(12)
"""Each wrapping key is used once."""


def envelope_bytes(num_plain: int, num_entries: int = 0) -> int:
    """Return how many bytes a sealed message has."""
    return _PREFIX.size + num_entries * _ENTRY.size + sealed_bytes(num_plain)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parts of a sealed message: views of its bytes."""

    ephemeral: bytes
    entries: memoryview
    segments: memoryview

    @classmethod
    def parse(cls, whole: memoryview) -> Self:
        """Return the parts.

        Raises:
            MalformedMessageError: if it is no sealed message.
        """
        if whole.nbytes < _PREFIX.size:
            raise MalformedMessageError("the sealed message ends before its key")
        magic, num_entries, ephemeral = _PREFIX.unpack_from(whole)
        if magic != MAGIC:
            raise MalformedMessageError("the sealed message does not begin with the letters WRRS")
        begin = _PREFIX.size + num_entries * _ENTRY.size
        if num_entries > MAX_ENTRIES or begin > whole.nbytes:
            raise MalformedMessageError("the sealed message ends inside its table of keys")
        return cls(ephemeral, whole[_PREFIX.size : begin], whole[begin:])

    def entry_of(self, reader: PublicIdentity) -> bytes | None:
        """Return the wrapped key in the entry of a reader; None if there is none."""
        wanted = tag_of(reader)
        return next(
            (bytes(each) for tag, each in _ENTRY.iter_unpack(self.entries) if tag == wanted), None
        )

    def plaintext(self, key: bytes, *, max_bytes: int) -> memoryview:
        """Return what is sealed, in memory of its own.

        Raises:
            MalformedMessageError: if it is longer than `max_bytes`, or not what was sealed.
        """
        size = plain_bytes(self.segments.nbytes)
        if size > max_bytes:
            raise MalformedMessageError(
                f"the sealed message holds {size} bytes, this reader takes {max_bytes}"
            )
        room = MemoryBuffer.of(size).view()
        open_into(room, self.segments, key)
        return room


def enclose(
    pieces: Sequence[bytes | memoryview], key: bytes, *, ephemeral: bytes, entries: bytes = b""
) -> memoryview:
    """Return a sealed message.

    Args:
        pieces: the plaintext, cut as `segments.seal_into` wants it.
        key: of the segments.
        ephemeral: the public key that the reader agrees with.
        entries: the table of wrapped keys, for a message to everybody.
    """
    head = _PREFIX.pack(MAGIC, len(entries) // _ENTRY.size, ephemeral) + entries
    room = MemoryBuffer.of(len(head) + sealed_bytes(sum(len(piece) for piece in pieces))).view()
    room[: len(head)] = head
    seal_into(room[len(head) :], pieces, key)
    return room


class Agreement:
    """An ephemeral key pair that agrees with one reader after another.

    Args:
        secret: 32 bytes; made at random, or derived so that the same message is sealed the same.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()
        """The raw public key."""

    def key_for(self, reader: PublicIdentity, sender: PublicIdentity, purpose: bytes) -> bytes:
        """Return the key that the sender shares with a reader for one purpose."""
        shared = self._key.exchange(X25519PublicKey.from_public_bytes(reader.agreement))
        return _agreed(shared, self.public, reader, sender, purpose)


MESSAGE, RUN_KEY = b"fanfold message 1", b"fanfold run key 1"
"""What an agreed key is for: the segments of a message, or a wrapped key of the run."""


def agreed_key(reader: Identity, ephemeral: bytes, sender: PublicIdentity, purpose: bytes) -> bytes:
    """Return the same key at the reader's end.

    Raises:
        MalformedMessageError: if nobody can agree with this ephemeral key.
    """
    try:
        shared = reader.agree_with(ephemeral)
    except ValueError:
        raise MalformedMessageError("the sealed message's ephemeral key is none") from None
    return _agreed(shared, ephemeral, reader.public, sender, purpose)


def _agreed(
    shared: bytes, ephemeral: bytes, reader: PublicIdentity, sender: PublicIdentity, purpose: bytes
) -> bytes:
    """Bind the key to all three public keys: nobody can pass on a message as its own."""
    return derived(shared, purpose + ephemeral + reader.agreement + sender.signing)


def tag_of(reader: PublicIdentity) -> bytes:
    """Return by what a reader finds its entry: 8 bytes of the hash of its X25519 key."""
    return sha256(reader.agreement).digest()[:8]


def wrapped(
    secret: bytes, readers: Sequence[PublicIdentity], agreement: Agreement, sender: PublicIdentity
) -> bytes:
    """Return the table that holds a secret of 32 bytes for each reader, in the order of tags.

    It has a power of two of entries, so that it says little of how many there are.
    """
    table = {
        tag_of(each): AESGCM(agreement.key_for(each, sender, RUN_KEY)).encrypt(_NONCE, secret, None)
        for each in readers
    }
    filler, index = derived(secret, b"fanfold filler 1"), 0
    while len(table) < num_entries(len(readers)):
        index += 1
        tag = derived(filler, b"tag", struct.pack("<Q", index))[:8]
        table[tag] = (derived(tag, filler) + derived(filler, tag))[: KEY_BYTES + TAG_BYTES]
    return b"".join(_ENTRY.pack(tag, table[tag]) for tag in sorted(table))


def unwrapped(entry: bytes, key: bytes) -> bytes:
    """Return the secret in an entry.

    Raises:
        MalformedMessageError: if it does not open with this key.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, entry, None)
    except InvalidTag:
        raise MalformedMessageError("the run's key does not open with this identity") from None


def num_entries(num_readers: int) -> int:
    """Return how many entries the table for so many readers has."""
    return max(LEAST_ENTRIES, 1 << (num_readers - 1).bit_length()) if num_readers else LEAST_ENTRIES
