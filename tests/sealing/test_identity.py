"""Facts about identities: what is written, what is never shown, and what is refused."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.identity import Identity, PublicIdentity

SEED = bytes(range(32))


def test_the_keys_are_their_owners_alone_and_the_public_line_is_everybodys(tmp_path: Path) -> None:
    """What is read again is what was written."""
    made = Identity.generate()
    made.write(tmp_path / "keys")
    private, public = (tmp_path / "keys" / name for name in ("identity.json", "identity.pub"))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert Identity.read(tmp_path / "keys").public == made.public
    assert PublicIdentity.read(public) == PublicIdentity.read(public.parent) == made.public
    secrets = json.loads(private.read_bytes()).values()
    assert [secret for secret in secrets if secret in public.read_text() + repr(made)] == []


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    Identity.generate().write(tmp_path)
    before = (tmp_path / "identity.json").read_bytes()
    with pytest.raises(InvalidInputError, match="holds an identity already"):
        Identity.generate().write(tmp_path)
    assert (tmp_path / "identity.json").read_bytes() == before


def test_what_is_no_identity_is_refused_without_repeating_a_secret(tmp_path: Path) -> None:
    """A damaged private file is not quoted, and a public one only in its beginning."""
    with pytest.raises(InvalidInputError, match="make it with `fanfold identity"):
        Identity.read(tmp_path)
    (tmp_path / "identity.json").write_text('{"signing": "c0ffee", "agreement": "beef"}')
    with pytest.raises(InvalidInputError, match="is damaged; make new keys") as mistake:
        Identity.read(tmp_path)
    assert "c0ffee" not in str(mistake.value)
    with pytest.raises(InvalidInputError, match="is no public identity"):
        PublicIdentity.parse("ssh-ed25519 AAAA")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        PublicIdentity.read(tmp_path)


def test_the_public_line_of_known_keys() -> None:
    """A vector for other implementations: the secrets are 00 01 .. 1f and 1f .. 01 00."""
    known = Identity.of_seeds(SEED, SEED[::-1]).public
    assert known.text() == (
        "fanfold-identity-1:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbi"
        "HlowcFkK9BgD2rYabiPksliPQ38RPAd7_4hya3T3KXw"
    )
    assert known.fingerprint == "bfe1 7a69 9ccf f920"


@given(st.binary(max_size=200))
def test_any_line_is_an_identity_or_refused(raw: bytes) -> None:
    """And one that is accepted has one spelling only."""
    text = "fanfold-identity-1:" + raw.decode("latin-1")
    try:
        found = PublicIdentity.parse(text)
    except InvalidInputError:
        return
    assert found.text() == text.strip()


def test_a_signature_is_of_one_statement_and_one_signer() -> None:
    alice, bob = Identity.generate(), Identity.generate()
    signature = alice.signing.sign(b"ten")
    assert alice.public.has_signed(b"ten", signature)
    assert not alice.public.has_signed(b"eleven", signature)
    assert not bob.public.has_signed(b"ten", signature)
    assert not alice.public.has_signed(b"ten", signature[:-1])
