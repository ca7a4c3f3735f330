"""The page about sealed messages is true: its example is opened with what it says, and no more."""

import hmac
import struct
from hashlib import sha256
from pathlib import Path

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fanfold.schemas.chunking import slices
from fanfold.schemas.messages import Update
from fanfold.schemas.tensor_codec import encode_tensors
from fanfold.sealing.envelope import MESSAGE, Agreement, Envelope, enclose, tag_of, wrapped
from fanfold.sealing.identity import Identity
from fanfold.sealing.run_keys import version_key
from fanfold.sealing.segments import SEGMENT_BYTES
from fanfold.sealing.signing import signed_chunks

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
ALICE = Identity.of_seeds(bytes(range(32)), bytes(range(32))[::-1])
HUB = Identity.of_seeds(bytes(range(32, 64)), bytes(range(32, 64))[::-1])
EPHEMERAL = Agreement(bytes(range(64, 96)))
EXAMPLE = Update(
    run="r1",
    participant="alice",
    base_version=3,
    base_digest="00" * 32,
    num_examples=120,
    metrics={"loss": 0.5},
)
TENSORS = {"w": torch.tensor([[1.0, -0.5]]), "n": torch.tensor(7)}


def hkdf(secret: bytes, info: bytes, salt: bytes = b"") -> bytes:
    """RFC 5869, for one block, without the library that the code uses."""
    key = hmac.digest(salt or bytes(32), secret, sha256)
    return hmac.digest(key, info + b"\1", sha256)


def on_the_page(value: bytes | str) -> bool:
    return f"`{value.hex() if isinstance(value, bytes) else value}`" in PAGE


def test_the_example_is_what_the_code_writes() -> None:
    encoded = encode_tensors(EXAMPLE, TENSORS, kinds={"w": "delta"})
    key = EPHEMERAL.key_for(HUB.public, ALICE.public, MESSAGE)
    pieces = list(slices(encoded.buffers, SEGMENT_BYTES))
    body = enclose(pieces, key, ephemeral=EPHEMERAL.public)
    (chunk,) = signed_chunks(
        EXAMPLE,
        body,
        identity=ALICE,
        federation="F",
        to="coordinator",
        serial=0,
        chunk_bytes=4194304,
    )
    assert on_the_page(EPHEMERAL.public)
    assert on_the_page(key)
    assert on_the_page(bytes(body[-32:]))
    assert on_the_page(chunk.header.whole.digest)
    assert on_the_page(str(chunk.headers["signature"]))
    statement = PAGE.partition("```text\nfanfold sealed")[2].partition("```")[0]
    Ed25519PublicKey.from_public_bytes(ALICE.public.signing).verify(
        bytes.fromhex(str(chunk.headers["signature"])), f"fanfold sealed{statement}".encode()
    )


def test_the_page_is_enough_to_read_a_message() -> None:
    """Primitives and the page's words alone give back the plaintext."""
    encoded = encode_tensors(EXAMPLE, TENSORS, kinds={"w": "delta"})
    plaintext = b"".join(encoded.buffers)
    key = EPHEMERAL.key_for(HUB.public, ALICE.public, MESSAGE)
    body = bytes(enclose([plaintext], key, ephemeral=EPHEMERAL.public))

    magic, num_entries = struct.unpack_from("<4sI", body)
    assert (magic, num_entries) == (b"WRRS", 0)
    theirs = body[8:40]
    ours = X25519PrivateKey.from_private_bytes(bytes(range(32, 64))[::-1])
    shared = ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    reader, sender = HUB.public.agreement, ALICE.public.signing
    agreed = hkdf(shared, b"fanfold message 1" + theirs + reader + sender)
    nonce = (0).to_bytes(8, "little") + bytes(3) + b"\1"
    assert AESGCM(agreed).decrypt(nonce, body[40:], None) == plaintext


def test_a_wrapped_key_is_found_and_opened_as_the_page_says() -> None:
    run_key = bytes(range(96, 128))
    table = wrapped(run_key, [ALICE.public], EPHEMERAL, HUB.public)
    tags = [table[at : at + 8] for at in range(0, len(table), 56)]
    tag = sha256(ALICE.public.agreement).digest()[:8]
    assert len(tags) == 64
    assert tags == sorted(tags)
    assert tag == tag_of(ALICE.public)
    entry = table[56 * tags.index(tag) + 8 : 56 * tags.index(tag) + 56]
    assert on_the_page(tag)
    assert on_the_page(entry)
    assert Envelope(b"", memoryview(table), memoryview(b"")).entry_of(ALICE.public) == entry
    shared = ALICE.agree_with(EPHEMERAL.public)
    info = b"fanfold run key 1" + EPHEMERAL.public + ALICE.public.agreement + HUB.public.signing
    assert AESGCM(hkdf(shared, info)).decrypt(bytes(12), entry, None) == run_key
    content = bytes(31) + b"\1"
    key = hkdf(run_key, b"fanfold version 1" + HUB.public.signing, content)
    assert key == version_key(run_key, content.hex(), HUB.public)
    assert on_the_page(key)
