"""Seeds of masks, sealed for the keepers who hold them, and signed by the one who drew them.

Every statement that is signed, and all that is bound to a box, is ASCII text of several lines; the
first one says what it is. Numbers are decimal, keys and boxes lower-case hexadecimal.
"""

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fanfold.schemas.errors import FanfoldError
from fanfold.schemas.keeper_messages import MasksWanted, Member
from fanfold.schemas.messages import MaskSeeds
from fanfold.sealing.derivation import derived
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.masks import SEED_BYTES, Words, seeds_held

_ONE_USE = bytes(12)
"""The nonce of a box: each has a key of its own."""


class SeedsError(FanfoldError):
    """Raised when sealed seeds are not what their statement says."""


def seal_seeds(
    keepers: Sequence[PublicIdentity],
    identity: Identity,
    *,
    run: str,
    participant: str,
    base_version: int,
    words: int,
) -> tuple[MaskSeeds, list[bytes]]:
    """Draw the seeds of one update, and seal them for the keepers.

    Args:
        keepers: one or three, in order.
        identity: of the participant.
        run: what the seeds are bound to, like the rest.
        participant: its id.
        base_version: of the update.
        words: in the update.

    Returns:
        What travels with the update, and the seeds.
    """
    seeds = [os.urandom(SEED_BYTES) for _ in keepers]
    once = X25519PrivateKey.generate()
    key = once.public_key().public_bytes_raw()
    bound = _header(run, participant, base_version, words)
    boxes = []
    for place, keeper in enumerate(keepers):
        held = b"".join(seeds[seed] for seed in seeds_held(place, len(keepers)))
        secret = once.exchange(X25519PublicKey.from_public_bytes(keeper.agreement))
        box = AESGCM(_box_key(secret, key, keeper.agreement)).encrypt(_ONE_USE, held, bound)
        boxes.append(box.hex())
    signature = identity.signing.sign(_statement(bound, key.hex(), boxes))
    return MaskSeeds(key=key.hex(), boxes=boxes, signature=signature.hex()), seeds


def check_signature(member: Member, owner: PublicIdentity, *, run: str, words: int) -> bool:
    """Return whether `owner` has signed the seeds of an update, for this run and so many words."""
    seeds = member.seeds
    bound = _header(run, member.participant, member.base_version, words)
    statement = _statement(bound, seeds.key, seeds.boxes)
    return owner.has_signed(statement, bytes.fromhex(seeds.signature))


def open_seeds(
    member: Member, identity: Identity, place: int, num_keepers: int, *, run: str, words: int
) -> dict[int, bytes]:
    """Return the seeds that the keeper in this place holds, by their numbers.

    Raises:
        SeedsError: if the box is not for this keeper, or of another update.
    """
    seeds = member.seeds
    held = seeds_held(place, num_keepers)
    key = bytes.fromhex(seeds.key)
    bound = _header(run, member.participant, member.base_version, words)
    try:
        secret = identity.agree_with(key)
        box = bytes.fromhex(seeds.boxes[place])
        opened = AESGCM(_box_key(secret, key, identity.public.agreement)).decrypt(
            _ONE_USE, box, bound
        )
    except (InvalidTag, ValueError, IndexError):
        raise SeedsError("its seeds are not sealed for this keeper and this update") from None
    if len(opened) != SEED_BYTES * len(held):
        raise SeedsError("its box holds another number of seeds")
    return {seed: opened[at * SEED_BYTES : (at + 1) * SEED_BYTES] for at, seed in enumerate(held)}


def digest_of_set(wanted: MasksWanted) -> str:
    """Return the digest that names a set: of its run, its words and its members."""
    lines = ["fanfold mask set 1", wanted.run, str(wanted.version), str(wanted.words)]
    for member in wanted.members:
        seeds = member.seeds
        lines += [member.participant, str(member.base_version), seeds.key, *seeds.boxes]
    return sha256("\n".join(lines).encode()).hexdigest()


def approval(run: str, set_digest: str) -> bytes:
    """Return what a keeper signs to say that the members of a set belong to it alone."""
    return _lines("fanfold mask set approved 1", run, set_digest)


def answer(run: str, set_digest: str, seeds: Sequence[int], digest: str) -> bytes:
    """Return what a keeper signs with the sum of masks.

    Args:
        run: of the set.
        set_digest: which set.
        seeds: whose masks were summed.
        digest: of the sum's bytes.
    """
    return _lines("fanfold masks 2", run, set_digest, ",".join(map(str, seeds)), digest)


def digest_of(words: Words) -> str:
    """Return the digest of a sum of masks."""
    return blake3(words.view("u1").data).hexdigest()


def in_order(keepers: Iterable[PublicIdentity]) -> list[PublicIdentity]:
    """Return keepers in the order in which everybody counts them: that of their text."""
    return sorted(keepers, key=PublicIdentity.text)


def refusal(run: str, set_digest: str, reason: str) -> bytes:
    """Return what a keeper signs with a refusal."""
    return _lines("fanfold masks refused 1", run, set_digest, sha256(reason.encode()).hexdigest())


def _lines(*lines: str) -> bytes:
    return "\n".join(lines).encode("ascii")


def _header(run: str, participant: str, base_version: int, words: int) -> bytes:
    return _lines("fanfold mask seeds 1", run, participant, str(base_version), str(words))


def _statement(bound: bytes, key: str, boxes: Sequence[str]) -> bytes:
    return b"\n".join([bound, _lines(key, *boxes)])


def _box_key(secret: bytes, key: bytes, keeper: bytes) -> bytes:
    return derived(secret, b"fanfold mask seeds 1\n" + key + keeper)
