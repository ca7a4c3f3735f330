"""The credentials file of one participant, or of the coordinator, made by `fanfold enroll`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import Identifier
from fanfold.schemas.names import owner_of
from fanfold.storage.disk import create

VARIABLE = "FANFOLD_CREDENTIALS"
Role = Literal["participant", "coordinator", "operator", "keeper"]


_COMMANDS = {"operator": "submit"}
"""The command that a file is for, where that is not called like the role."""


class Credentials(BaseModel):
    """The broker, and the login for it. Paths are relative to the folder of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    federation: Identifier
    login: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}(\.[0-9]{1,6})?$")
    """The broker login: an enrolled participant's id, or `ID.2` and so on after a rotation."""
    password: SecretStr | None = None
    """None if a client certificate is used to log in."""
    brokers: tuple[str, ...] = Field(min_length=1)
    """URLs without a login."""
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    coordinator_identity: str | None = None
    """The coordinator's public identity, in a federation that seals its messages."""

    @classmethod
    def read(cls, path: Path, *, role: Role | None = None) -> Self:
        """Return the credentials in a file.

        Raises:
            InvalidInputError: if it is no such file, or is for another role; the message does not
                repeat its content.
        """
        try:
            found = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InvalidInputError(f"--credentials {path}: {error.strerror}") from None
        except ValidationError as error:
            fields = {".".join(map(str, mistake["loc"])) for mistake in error.errors()} - {""}
            about = f"; wrong or missing: {', '.join(sorted(fields))}" if fields else ""
            raise InvalidInputError(
                f"--credentials {path} is not a file that `fanfold enroll` made{about}"
            ) from None
        if role not in (None, found.role):
            raise InvalidInputError(
                f"--credentials {path} is for `fanfold {_COMMANDS.get(found.role, found.role)}`, "
                f"and one for `fanfold {role}` is asked for; name the file that was made for it"
            )
        folder = path.parent
        paths = {
            name: folder / value
            for name in ("ca_file", "certificate", "key")
            if (value := getattr(found, name)) is not None
        }
        return found.model_copy(update=paths)

    def write(self, path: Path) -> None:
        """Write the file, readable by its owner only.

        Raises:
            InvalidInputError: if it cannot be written, or exists already.
        """
        try:
            create(path, f"{self.text()}\n".encode())
        except FileExistsError:
            raise InvalidInputError(f"{path} is there already; name another --out") from None
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from None

    def text(self) -> str:
        """Return the file's content, with the password in clear."""
        document = self.model_dump(mode="json", exclude_none=True)
        if self.password is not None:
            document["password"] = self.password.get_secret_value()
        return json.dumps(document, indent=2)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a command's options, completed by those in the file.

        Raises:
            InvalidInputError: if an option contradicts the file.
        """
        ours: dict[str, Any] = {"federation": self.federation}
        if self.role == "participant":
            ours["id"] = owner_of(self.login)
            if self.coordinator_identity is not None:
                ours["coordinator_identity"] = self.coordinator_identity
        for name, value in ours.items():
            if given.get(name) not in (None, value):
                raise InvalidInputError(
                    f"--{name.replace('_', '-')} {given[name]} contradicts the credentials, which "
                    f"are for {value}"
                )
        files = {"ca_file": self.ca_file, "certificate": self.certificate, "key": self.key}
        ours |= {name: str(value) for name, value in files.items() if value is not None}
        chosen = {name: value for name, value in given.items() if value not in (None, ())}
        urls = given.get("broker") or self.brokers
        login: dict[str, Any] = {"broker": tuple(self._with_login(url) for url in urls)}
        if self.role == "coordinator":
            login["require_login"] = True
        return ours | chosen | login

    def _with_login(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.username is not None:
            raise InvalidInputError(
                "--broker names a login, and so do the credentials; leave it out of the address"
            )
        login = quote(self.login, safe="")
        if self.password is not None:
            login += ":" + quote(self.password.get_secret_value(), safe="")
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))
