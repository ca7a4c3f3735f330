"""A plaintext as AES-256-GCM segments of one key that no other message has, and back.

Segment i is a mebibyte of plaintext (the last one may be shorter) and a tag of 16 bytes. Its nonce
is i as an unsigned 64-bit integer, little endian, three zero bytes, and 1 for the last segment or 0
for the others (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015): segments
cannot be moved, left out or cut off at the end.
"""

from collections.abc import Sequence
from struct import pack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fanfold.schemas.errors import MalformedMessageError

SEGMENT_BYTES = 1 << 20
TAG_BYTES = 16


def sealed_bytes(plain_bytes: int) -> int:
    """Return how many bytes the segments of a plaintext of at least one byte have."""
    return plain_bytes + TAG_BYTES * -(-plain_bytes // SEGMENT_BYTES)


def plain_bytes(num_bytes: int) -> int:
    """Return how many bytes of plaintext so many bytes of segments hold.

    Raises:
        MalformedMessageError: if no segments have so many.
    """
    count = -(-num_bytes // (SEGMENT_BYTES + TAG_BYTES))
    plain = num_bytes - TAG_BYTES * count
    if plain < 1 or sealed_bytes(plain) != num_bytes:
        raise MalformedMessageError(f"{num_bytes} bytes are no sealed segments")
    return plain


def seal_into(room: memoryview, pieces: Sequence[bytes | memoryview], key: bytes) -> None:
    """Write the segments of a plaintext into a buffer of exactly their size.

    Args:
        room: writable, of `sealed_bytes` bytes.
        pieces: the plaintext in pieces of `SEGMENT_BYTES`, the last one perhaps shorter.
        key: 32 bytes that no other plaintext is sealed with.
    """
    cipher, begin = AESGCM(key), 0
    for index, piece in enumerate(pieces):
        end = begin + len(piece) + TAG_BYTES
        nonce = _nonce(index, is_last=index == len(pieces) - 1)
        cipher.encrypt_into(nonce, piece, None, room[begin:end])
        begin = end


def open_into(room: memoryview, segments: memoryview, key: bytes) -> None:
    """Write the plaintext of segments into a buffer of exactly its size.

    Raises:
        MalformedMessageError: if they are not what was sealed with this key; what is in the
            buffer then is to be thrown away.
    """
    cipher, count = AESGCM(key), -(-room.nbytes // SEGMENT_BYTES)
    for index in range(count):
        begin, end = index * SEGMENT_BYTES, min((index + 1) * SEGMENT_BYTES, room.nbytes)
        segment = segments[begin + index * TAG_BYTES : end + (index + 1) * TAG_BYTES]
        nonce = _nonce(index, is_last=index == count - 1)
        try:
            cipher.decrypt_into(nonce, segment, None, room[begin:end])
        except InvalidTag:
            raise MalformedMessageError(
                f"segment {index} of the sealed message is not what was sealed"
            ) from None


def _nonce(index: int, *, is_last: bool) -> bytes:
    return pack("<Q3xB", index, is_last)
