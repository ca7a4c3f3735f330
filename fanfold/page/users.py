"""Who may look at the page, and who may act: a file of names, roles and hashed passwords."""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from fanfold.schemas.errors import InvalidInputError
from fanfold.storage.disk import replacing

Role = Literal["viewer", "operator"]
LEAST_PASSWORD = 10
"""Characters."""
MOST_PASSWORD = 1024
COST, BLOCK, PARALLEL = 1 << 15, 8, 1
"""Of scrypt: 32 MB, and a tenth of a second."""
MEMORY_BYTES = 64 << 20
Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]


class User(BaseModel):
    """A role, and a password's hash: scrypt (RFC 7914) with n = 2^15, r = 8, p = 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    salt: Hex
    scrypt: Hex


_FILE = TypeAdapter(dict[Name, User])
_NOBODY = User(role="viewer", salt="0" * 64, scrypt="0" * 64)
"""Checked where there is no such user, so that the answer takes as long."""


class Users:
    """The users in a file, read anew for each login: who is removed there is refused at once."""

    def __init__(self, path: Path) -> None:
        """Look at the file, so that a mistake in it is told at the start.

        Raises:
            InvalidInputError: if it cannot be read.
        """
        self.path = path
        self.all()

    def all(self) -> dict[str, User]:
        """Return the users by name.

        Raises:
            InvalidInputError: if the file cannot be read.
        """
        try:
            return _FILE.validate_json(self.path.read_bytes())
        except OSError as error:
            raise InvalidInputError(
                f"{self.path} cannot be read ({error.strerror}); make it with fanfold page-user"
            ) from None
        except ValidationError:
            raise InvalidInputError(
                f"{self.path} is no file of fanfold page-user; make it anew with that"
            ) from None

    def role_of(self, name: str) -> Role | None:
        """Return what somebody may do by now; None for who is not there any more."""
        user = self.all().get(name)
        return None if user is None else user.role

    def check(self, name: str, password: str) -> Role | None:
        """Return the role of who knows the password; None for everybody else."""
        user = self.all().get(name)
        found = _scrypt(password[:MOST_PASSWORD], (user or _NOBODY).salt)
        is_right = secrets.compare_digest(found, (user or _NOBODY).scrypt)
        return user.role if user is not None and is_right else None


def set_user(path: Path, name: str, role: Role, password: str) -> None:
    """Add a user to a file, or change one; the file is its owner's alone.

    Raises:
        InvalidInputError: if the password is short, the name is none, or the file cannot be used.
    """
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise InvalidInputError(
            f"a password has {LEAST_PASSWORD} to {MOST_PASSWORD} characters, and this one has "
            f"{len(password)}; choose another"
        )
    users = Users(path).all() if path.exists() else {}
    salt = secrets.token_hex(32)
    users[name] = User(role=role, salt=salt, scrypt=_scrypt(password, salt))
    try:
        _FILE.validate_python({each: user.model_dump() for each, user in users.items()})
    except ValidationError:
        raise InvalidInputError(
            f"{name!r} is no name: up to 64 letters, digits and . _ @ -"
        ) from None
    text = json.dumps({each: user.model_dump() for each, user in users.items()}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text.encode() + b"\n")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written to ({error.strerror})") from None


def _scrypt(password: str, salt: str) -> str:
    return hashlib.scrypt(
        password.encode(),
        salt=bytes.fromhex(salt),
        n=COST,
        r=BLOCK,
        p=PARALLEL,
        maxmem=MEMORY_BYTES,
        dklen=32,
    ).hex()
