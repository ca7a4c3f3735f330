"""Broker logins for single participants, each with the permissions to take part and no others.

A member is called by its id, and so is its login. Where that is replaced without a pause it gets a
further one, `ID.2`, beside the first: both are the same member's until the earlier one is removed.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fanfold.access.credentials import Credentials, Role
from fanfold.access.management import ManagementClient
from fanfold.access.rights import Rights, here_and_in_runs, rights_of
from fanfold.coordinator.broker.queue_arguments import participant_queue_arguments
from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.schemas.names import FederationNames, check_identifier, login_number, owner_of

TAG = "fanfold"
"""The tag of every login made here; `revoke` removes no other. RabbitMQ gives it no rights."""
_PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Makes and removes logins of one federation on one broker."""

    management: ManagementClient
    names: FederationNames
    vhost: str = "/"
    brokers: Sequence[str] = ()
    """Broker URLs for the credentials; by default those the broker says it listens on."""
    ca_file: Path | None = None
    certificate: Path | None = None
    """Log in with this client certificate, whose common name is the login, and no password."""
    key: Path | None = field(default=None, repr=False)

    def enroll(self, login: str, role: Role = "participant", *, keeper: str = "") -> Credentials:
        """Make a login, and for a new participant its queue and bindings.

        Args:
            login: the id of a participant, the name of another login, or what `next_login` returned
                for a member that has one: its earlier logins stay valid.
            role: what it may do.
            keeper: `PublicIdentity.name` of a keeper's keys.

        Raises:
            InvalidInputError: if it cannot be one, or the broker has it already.
            TransportError: if the management API refuses something; what was made is removed.
        """
        owner = owner_of(login)
        rights = self._rights(owner, role, keeper)
        held = self.logins_of(owner)
        if login in held or (held and login == owner):
            raise InvalidInputError(
                f"the broker has a login {held[-1]!r} already; choose another id, or "
                f"`fanfold revoke {owner}` first; --rotate makes another login for the same one"
            )
        queue = None
        if role == "participant" and not held:
            queue = self.names.participant_queue(owner)
        is_new = queue is not None and self.management.get("queues", self.vhost, queue) is None
        try:
            if queue is not None:
                self._declare_exchanges()
                self._make_queue(owner, queue, is_new=is_new)
            return self._make_login(login, role, rights)
        except FanfoldError:
            self.remove(login)
            if is_new:  # a queue from before may hold a version
                self._remove_queues(owner)
            raise

    def next_login(self, owner: str, role: Role = "participant", *, keeper: str = "") -> str:
        """Return the name of a further login of a member: `anna.2` after `anna`.

        Raises:
            InvalidInputError: if there is none yet, or it is none of this role and federation.
        """
        rights = self._rights(owner, role, keeper)
        logins = self.logins_of(owner)
        if not logins:
            raise InvalidInputError(
                f"the broker has no login {owner!r} to be replaced; leave out --rotate"
            )
        held = self.management.get("permissions", self.vhost, logins[-1])
        if held is None or not rights.is_like(held):
            raise InvalidInputError(
                f"the broker's login {logins[-1]!r} is no {role}'s of the federation "
                f"{self.names.federation!r}; name the role and the federation that it was made for"
            )
        return f"{owner}.{login_number(logins[-1]) + 1}"

    def revoke(self, owner: str) -> list[str]:
        """Close the connections of a member; remove its logins, which it returns, and its queues.

        Raises:
            InvalidInputError: if there is no such login, or `fanfold enroll` did not make it.
        """
        check_identifier("the login", owner)
        logins = self.logins_of(owner)
        if not logins:
            raise InvalidInputError(f"the broker has no login {owner!r}; nothing to revoke")
        for login in logins:
            self.remove(login)
        self._remove_queues(owner)
        return logins

    def revoke_old(self, owner: str) -> list[str]:
        """Close the connections of all logins of a member but the newest; remove these logins.

        Returns:
            What its logins were: the last one stays.

        Raises:
            InvalidInputError: if there are not two of them, or `fanfold enroll` did not make them.
        """
        check_identifier("the login", owner)
        logins = self.logins_of(owner)
        *earlier, _newest = logins or [""]
        if not earlier:
            raise InvalidInputError(
                f"the broker has no earlier login of {owner!r}; `fanfold enroll {owner} --rotate` "
                f"makes another one, and `fanfold revoke {owner}` removes the only one"
            )
        for login in earlier:
            self.remove(login)
        return logins

    def logins_of(self, owner: str) -> list[str]:
        """Return the logins of a member at the broker, the newest last.

        Raises:
            InvalidInputError: if `fanfold enroll` did not make one of them.
        """
        users = {
            user["name"]: user
            for user in self.management.get("users", columns="name,tags") or []
            if owner_of(user["name"]) == owner
        }
        for login, user in users.items():
            if TAG not in _tags(user):
                raise InvalidInputError(
                    f"the broker's login {login!r} was not made by `fanfold enroll`; choose "
                    "another id, or remove it with RabbitMQ's own tools if you mean it"
                )
        return sorted(users, key=login_number)

    def _rights(self, owner: str, role: Role, keeper: str) -> Rights:
        what = "the participant" if role == "participant" else "the login"
        return rights_of(role, self.names, check_identifier(what, owner), keeper)

    def remove(self, login: str) -> None:
        """Remove one login first, so that it cannot reconnect; then its connections."""
        self.management.delete("users", login)
        for connection in self.management.get("connections") or []:
            if connection.get("user") == login:
                self.management.delete("connections", connection["name"])

    def _remove_queues(self, owner: str) -> None:
        own = here_and_in_runs(self.names, self.names.participant_queue(owner))
        for each in self.management.get("queues", self.vhost, columns="name") or []:
            if re.search(own, each["name"]):
                self.management.delete("queues", self.vhost, each["name"])

    def _declare_exchanges(self) -> None:
        names = self.names
        for name, kind in (
            (names.parameters_exchange, "fanout"),
            (names.resend_exchange, "direct"),
            (names.reports_exchange, "direct"),
        ):
            body = {"type": kind, "durable": True}
            self.management.put("exchanges", self.vhost, name, body=body)

    def _make_queue(self, participant: str, queue: str, *, is_new: bool) -> None:
        arguments = {"x-queue-type": "classic", **participant_queue_arguments(version_bytes=0)}
        if is_new:
            self.management.put(
                "queues", self.vhost, queue, body={"durable": True, "arguments": arguments}
            )
        self._bind(self.names.parameters_exchange, queue, "")
        self._bind(self.names.resend_exchange, queue, participant)

    def _bind(self, exchange: str, queue: str, key: str) -> None:
        path = ("bindings", self.vhost, "e", exchange, "q", queue)
        self.management.post(*path, body={"routing_key": key})

    def _make_login(self, login: str, role: Role, rights: Rights) -> Credentials:
        """Make a login, then its permissions and limits: until it has them, it can do nothing."""
        password = None if self.certificate else secrets.token_urlsafe(_PASSWORD_BYTES)
        secret = {"password_hash": ""} if password is None else {"password": password}
        credentials = Credentials(
            role=role,
            federation=self.names.federation,
            login=login,
            password=None if password is None else SecretStr(password),
            brokers=tuple(self.brokers) or self._listening(),
            ca_file=self.ca_file and self.ca_file.resolve(),
            certificate=self.certificate and self.certificate.resolve(),
            key=self.key and self.key.resolve(),
        )
        self.management.put("users", login, body={**secret, "tags": TAG})
        for name, value in rights.limits.items():
            self.management.put("user-limits", login, name, body={"value": value})
        self.management.put("permissions", self.vhost, login, body=dict(rights.permissions))
        return credentials

    def _listening(self) -> tuple[str, ...]:
        """Return the broker's AMQP URLs on the API's host, those with TLS if it has any."""
        listeners = self.management.get("overview")["listeners"]
        ports = {listener["protocol"]: listener["port"] for listener in listeners}
        host = f"[{self.management.host}]" if ":" in self.management.host else self.management.host
        vhost = "" if self.vhost == "/" else "/" + self.vhost.replace("/", "%2F")
        if "amqp/ssl" in ports:
            return (f"amqps://{host}:{ports['amqp/ssl']}{vhost}",)
        return (f"amqp://{host}:{ports['amqp']}{vhost}",)


def _tags(user: dict[str, Any]) -> list[str]:
    """Return a user's tags: a list since RabbitMQ 3.9, one text with commas before."""
    tags: str | list[str] = user.get("tags", [])
    return tags.split(",") if isinstance(tags, str) else tags
