"""The keys of one participant, or of the coordinator: made where they are used, and never sent.

An identity is two key pairs. Ed25519 signs what its owner sends; X25519 receives what others seal
for it. The public halves together are one line of text, which is handed over once, by a way that
both sides trust: it is as public as a telephone number, and must be as right.
"""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fanfold.schemas.errors import InvalidInputError
from fanfold.sealing.derivation import KEY_BYTES, derived
from fanfold.storage.disk import create, replacing

PRIVATE_FILE, PUBLIC_FILE = "identity.json", "identity.pub"
_PREFIX = "fanfold-identity-1:"


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """The public halves of an identity's keys, 32 raw bytes each."""

    signing: bytes
    agreement: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the identity that a line of text names.

        Raises:
            InvalidInputError: if it is no such line.
        """
        body = text.strip()
        try:
            raw = urlsafe_b64decode(body.removeprefix(_PREFIX) + "==")
            found = cls(raw[:KEY_BYTES], raw[KEY_BYTES:])
            is_one = body == found.text()
        except ValueError:
            is_one = False
        if not is_one:
            raise InvalidInputError(
                f"{body[:40]!r} is no public identity; it is one line that begins with "
                f"{_PREFIX!r}, as `fanfold identity` writes it into {PUBLIC_FILE}"
            )
        return found

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the identity in a file, or in the folder that `fanfold identity` made.

        Raises:
            InvalidInputError: if there is none.
        """
        file = path / PUBLIC_FILE if path.is_dir() else path
        try:
            return cls.parse(file.read_text(encoding="ascii"))
        except OSError as error:
            raise InvalidInputError(
                f"{file} cannot be read ({error.strerror}); name the {PUBLIC_FILE} that "
                "`fanfold identity` wrote"
            ) from None
        except UnicodeDecodeError:
            raise InvalidInputError(f"{file} is no {PUBLIC_FILE} of `fanfold identity`") from None

    def text(self) -> str:
        """Return it as one line, without the line feed."""
        if len(self.signing) != KEY_BYTES or len(self.agreement) != KEY_BYTES:
            raise ValueError("a key has 32 bytes")
        body = urlsafe_b64encode(self.signing + self.agreement).decode().rstrip("=")
        return _PREFIX + body

    @property
    def name(self) -> str:
        """The fingerprint without spaces, where it names a queue."""
        return self.fingerprint.replace(" ", "")

    @property
    def fingerprint(self) -> str:
        """What two people compare on the telephone: 16 hex digits of the hash of both keys."""
        digits = sha256(self.signing + self.agreement).hexdigest()[:16]
        return " ".join(digits[at : at + 4] for at in range(0, 16, 4))

    def has_signed(self, statement: bytes, signature: bytes) -> bool:
        """Return whether `signature` is this identity's under `statement`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.signing).verify(signature, statement)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Identity:
    """Both halves of an identity's keys. Its `repr` shows none of them."""

    signing: Ed25519PrivateKey = field(repr=False)
    agreement: X25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make new keys, from the operating system's secure source."""
        return cls(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def of_seeds(cls, signing: bytes, agreement: bytes) -> Self:
        """Return the identity of two secrets of 32 bytes."""
        return cls(
            Ed25519PrivateKey.from_private_bytes(signing),
            X25519PrivateKey.from_private_bytes(agreement),
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the identity in a folder.

        Raises:
            InvalidInputError: if there is none; the message does not repeat the file's content.
        """
        path = folder / PRIVATE_FILE
        try:
            document = json.loads(path.read_bytes())
            return cls.of_seeds(
                bytes.fromhex(document["signing"]), bytes.fromhex(document["agreement"])
            )
        except OSError as error:
            raise InvalidInputError(
                f"--identity {folder}: {PRIVATE_FILE} cannot be read ({error.strerror}); "
                f"make it with `fanfold identity {folder}`"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise InvalidInputError(
                f"--identity {folder}: {PRIVATE_FILE} is damaged; make new keys with "
                "`fanfold identity` and enrol them with `fanfold rotate`"
            ) from None

    def write(self, folder: Path) -> None:
        """Write a new folder: the keys for its owner alone, and the public line for everybody.

        Raises:
            InvalidInputError: if there is an identity already, or the folder cannot be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            create(folder / PRIVATE_FILE, self._content())
            public = folder / PUBLIC_FILE
            public.unlink(missing_ok=True)  # of keys that are gone
            create(public, self.public.text().encode() + b"\n", mode=0o644)
        except FileExistsError:
            raise InvalidInputError(
                f"{folder} holds an identity already, which is never overwritten; "
                "name another folder"
            ) from None
        except OSError as error:
            raise InvalidInputError(f"{folder} cannot be written: {error.strerror}") from None

    def replace(self, folder: Path) -> None:
        """Write it in place of the identity in a folder, whose keys are gone then.

        The private file comes first: a crash in between leaves an old public line, which nobody
        can use, and the next call mends it.

        Raises:
            InvalidInputError: if the folder cannot be written.
        """
        try:
            with replacing(folder / PRIVATE_FILE) as file:
                os.fchmod(file.fileno(), 0o600)  # before the content is there
                file.write(self._content())
            with replacing(folder / PUBLIC_FILE) as file:
                file.write(self.public.text().encode() + b"\n")
        except OSError as error:
            raise InvalidInputError(f"{folder} cannot be written: {error.strerror}") from None

    def _content(self) -> bytes:
        document = {
            "signing": self.signing.private_bytes_raw().hex(),
            "agreement": self.agreement.private_bytes_raw().hex(),
        }
        return json.dumps(document).encode() + b"\n"

    @cached_property
    def public(self) -> PublicIdentity:
        """The halves that others may know."""
        return PublicIdentity(
            self.signing.public_key().public_bytes_raw(),
            self.agreement.public_key().public_bytes_raw(),
        )

    def own_secret(self, purpose: bytes) -> bytes:
        """Return 32 bytes that only the owner of these keys can have, one for each purpose."""
        both = self.signing.private_bytes_raw() + self.agreement.private_bytes_raw()
        return derived(both, b"fanfold own secret 1, " + purpose)

    def agree_with(self, other: bytes) -> bytes:
        """Return the X25519 secret shared with the owner of the raw public key `other`.

        Raises:
            ValueError: if it is no key that one can agree with.
        """
        return self.agreement.exchange(X25519PublicKey.from_public_bytes(other))
