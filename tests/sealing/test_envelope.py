"""Facts about sealed bytes: what goes in comes out, and nothing that was touched does."""

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.schemas.chunking import slices
from fanfold.schemas.errors import MalformedMessageError
from fanfold.sealing import segments
from fanfold.sealing.derivation import fingerprint
from fanfold.sealing.envelope import (
    MESSAGE,
    RUN_KEY,
    Agreement,
    Envelope,
    agreed_key,
    enclose,
    envelope_bytes,
    unwrapped,
    wrapped,
)
from fanfold.sealing.identity import Identity
from fanfold.sealing.segments import SEGMENT_BYTES, plain_bytes, sealed_bytes

KEY = bytes(range(32))
ALICE, BOB, HUB = (Identity.generate() for _ in range(3))


def sealed(plaintext: bytes, key: bytes = KEY) -> memoryview:
    pieces = list(slices([memoryview(plaintext)], segments.SEGMENT_BYTES))
    return enclose(pieces, key, ephemeral=bytes(32))


def opened(whole: memoryview, key: bytes = KEY) -> bytes:
    return bytes(Envelope.parse(whole).plaintext(key, max_bytes=1 << 24))


@given(st.binary(min_size=1, max_size=300))
def test_what_goes_in_comes_out(plaintext: bytes) -> None:
    assert opened(sealed(plaintext)) == plaintext
    assert sealed(plaintext).nbytes == envelope_bytes(len(plaintext))


@pytest.mark.parametrize("size", [SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 5 << 19])
def test_segments_end_anywhere(size: int) -> None:
    """The length of the plaintext follows from that of the segments, before it is opened."""
    plaintext = secrets.token_bytes(size)
    assert opened(sealed(plaintext)) == plaintext
    assert plain_bytes(sealed_bytes(size)) == size


@given(st.integers(min_value=0, max_value=1 << 40))
def test_a_length_is_one_of_segments_or_refused(num_bytes: int) -> None:
    try:
        plain = plain_bytes(num_bytes)
    except MalformedMessageError:
        return
    assert sealed_bytes(plain) == num_bytes


@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_bit_that_was_touched_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """In the segments; what stands before them is under the signature."""
    whole = bytearray(sealed(plaintext))
    at = data.draw(st.integers(min_value=40, max_value=len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    with pytest.raises(MalformedMessageError, match="segment 0 of the sealed message is not what"):
        opened(memoryview(whole))


@pytest.mark.parametrize("how", ["swapped", "cut off", "repeated"])
def test_segments_stay_in_their_places(how: str) -> None:
    whole = sealed(bytes(3 * SEGMENT_BYTES))
    one = SEGMENT_BYTES + 16
    head, first, second, third = whole[:40], *(whole[40 + i * one :][:one] for i in range(3))
    changed = {
        "swapped": [head, second, first, third],
        "cut off": [head, first, second],
        "repeated": [head, first, second, second, third],
    }[how]
    with pytest.raises(MalformedMessageError, match="is not what was sealed"):
        opened(memoryview(b"".join(changed)))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    """Nothing but a refusal comes of what nobody sealed, and no memory for what it claims."""
    for whole in (raw, b"WRRS" + raw):
        with pytest.raises(MalformedMessageError, match="sealed"):
            opened(memoryview(whole))


def test_what_is_longer_than_the_reader_takes_is_refused_before_it_is_opened() -> None:
    envelope = Envelope.parse(sealed(bytes(100), KEY))
    with pytest.raises(MalformedMessageError, match="holds 100 bytes, this reader takes 99"):
        envelope.plaintext(bytes(32), max_bytes=99)


def test_a_key_is_agreed_by_one_reader_for_one_sender_and_one_purpose() -> None:
    secret = secrets.token_bytes(32)
    ephemeral = Agreement(secret)
    key = ephemeral.key_for(HUB.public, ALICE.public, MESSAGE)
    assert agreed_key(HUB, ephemeral.public, ALICE.public, MESSAGE) == key
    assert agreed_key(HUB, ephemeral.public, BOB.public, MESSAGE) != key
    assert agreed_key(HUB, ephemeral.public, ALICE.public, RUN_KEY) != key
    assert agreed_key(BOB, ephemeral.public, ALICE.public, MESSAGE) != key
    assert secret.hex() not in repr(ephemeral)


def test_an_ephemeral_key_that_gives_zeros_is_refused() -> None:
    """One of small order would make the key known to everybody."""
    with pytest.raises(MalformedMessageError, match="ephemeral key is none"):
        agreed_key(HUB, bytes(32), ALICE.public, MESSAGE)


def test_a_table_opens_for_its_readers_alone_and_hides_how_many_they_are() -> None:
    ephemeral = Agreement(secrets.token_bytes(32))
    table = wrapped(KEY, [ALICE.public], ephemeral, HUB.public)
    assert len(table) == len(wrapped(KEY, [ALICE.public, BOB.public], ephemeral, HUB.public))
    envelope = Envelope(ephemeral.public, memoryview(table), memoryview(b""))
    entry = envelope.entry_of(ALICE.public)
    assert entry is not None
    assert envelope.entry_of(BOB.public) is None
    assert unwrapped(entry, agreed_key(ALICE, ephemeral.public, HUB.public, RUN_KEY)) == KEY
    with pytest.raises(MalformedMessageError, match="does not open with this identity"):
        unwrapped(entry, agreed_key(BOB, ephemeral.public, HUB.public, RUN_KEY))


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.binary(max_size=40), max_size=4))
def test_a_fingerprint_tells_plaintexts_apart(one: list[bytes], other: list[bytes]) -> None:
    """Also in how they are cut; and the secret is part of it."""
    assert (fingerprint(one, KEY) == fingerprint(other, KEY)) == (one == other)
    assert fingerprint(one, KEY) != fingerprint(one, bytes(32))
