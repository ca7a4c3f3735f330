"""Broker logins for single participants, each with the permissions to take part and no others.

RabbitMQ's permissions are three patterns over the names of queues and exchanges. A participant may
configure nothing, write to the federation's reports exchange, and read its own queue; likewise in
every run that a resident coordinator opens in the federation.
`docs/security.md` says what that leaves open.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fanfold.access.credentials import Credentials, Role
from fanfold.access.management import ManagementClient
from fanfold.coordinator.broker.queue_arguments import participant_queue_arguments
from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.schemas.names import FederationNames, check_identifier
from fanfold.schemas.run_messages import MAX_OPEN_RUNS

TAG = "fanfold"
"""The tag of every login made here; `revoke` removes no other. RabbitMQ gives it no rights."""
PARTICIPANT_LIMITS = {
    "max-connections": 4 + 2 * MAX_OPEN_RUNS,
    "max-channels": 16 + 8 * MAX_OPEN_RUNS,
}
"""A participant has two connections, two more for each run of a resident coordinator, and may
reconnect before the broker closes the old ones.
"""
COORDINATOR_LIMITS = {
    "max-connections": 8 + 4 * MAX_OPEN_RUNS,
    "max-channels": 32 + 16 * MAX_OPEN_RUNS,
}
"""Likewise; a coordinator has three connections."""
OPERATOR_LIMITS = {"max-connections": 8, "max-channels": 32}
"""An operator has one connection for each command that runs."""
KEEPER_LIMITS = {"max-connections": 4, "max-channels": 16}
"""A keeper has two connections, and may reconnect before the broker closes the old ones."""
_RUN = r"(\.run\.[A-Za-z0-9_-]+)?"
"""Follows a federation's name in a pattern, for the names of its runs."""
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
    """Log in with this client certificate, whose common name is the id, and no password."""
    key: Path | None = field(default=None, repr=False)

    def enroll(self, login: str, role: Role, *, keeper: str = "") -> Credentials:
        """Make a login of that role; with that of a keeper, `keeper` is the name of its keys.

        Raises:
            InvalidInputError: if it cannot be one, or the broker has it already.
            TransportError: if the management API refuses something; what was made is removed.
        """
        make: dict[Role, Callable[[str], Credentials]] = {
            "participant": self.enroll_participant,
            "coordinator": self.enroll_coordinator,
            "operator": self.enroll_operator,
            "keeper": lambda login: self.enroll_keeper(login, keeper),
        }
        return make[role](login)

    def enroll_participant(self, participant: str) -> Credentials:
        """Make a participant's login, queue and bindings.

        Raises:
            InvalidInputError: if the id cannot be one, or the broker has such a login already.
            TransportError: if the management API refuses something; what was made is removed.
        """
        check_identifier("the participant", participant)
        names = self.names
        self._refuse_known(participant)
        self._declare_exchanges()
        queue = names.participant_queue(participant)
        arguments = {"x-queue-type": "classic", **participant_queue_arguments(version_bytes=0)}
        is_new = self.management.get("queues", self.vhost, queue) is None
        try:
            if is_new:
                self.management.put(
                    "queues", self.vhost, queue, body={"durable": True, "arguments": arguments}
                )
            self._bind(names.parameters_exchange, queue, "")
            self._bind(names.resend_exchange, queue, participant)
            return self._make_login(
                participant,
                role="participant",
                permissions={
                    "configure": "^$",
                    "write": self._here_and_in_runs(names.reports_exchange),
                    "read": self._here_and_in_runs(queue),
                },
                limits=PARTICIPANT_LIMITS,
            )
        except FanfoldError:
            self._remove(participant, queue=is_new)  # a queue from before may hold a version
            raise

    def enroll_coordinator(self, login: str) -> Credentials:
        """Make the coordinator's login, with permissions for this federation only.

        Raises:
            InvalidInputError: if the login cannot be one, or the broker has it already.
            TransportError: if the management API refuses something; what was made is removed.
        """
        everything = f"^{re.escape(self.names.federation)}\\..*$"
        permissions = {"configure": everything, "write": everything, "read": everything}
        return self._make_or_remove(login, "coordinator", permissions, COORDINATOR_LIMITS)

    def enroll_keeper(self, login: str, keeper: str) -> Credentials:
        """Make the login of a keeper of masks, who may read its requests and send answers.

        Args:
            login: the broker login.
            keeper: `PublicIdentity.name` of its keys, which names its queue.

        Raises:
            InvalidInputError: if the login cannot be one, or the broker has it already.
            TransportError: if the management API refuses something; what was made is removed.
        """
        permissions = {
            "configure": "^$",
            "write": self._here_and_in_runs(self.names.reports_exchange),
            "read": self._here_and_in_runs(self.names.keeper_queue(keeper)),
        }
        return self._make_or_remove(login, "keeper", permissions, KEEPER_LIMITS)

    def enroll_operator(self, login: str) -> Credentials:
        """Make the login of an operator, who may ask `fanfold serve` for everything and no more.

        Raises:
            InvalidInputError: if the login cannot be one, or the broker has it already.
            TransportError: if the management API refuses something; what was made is removed.
        """
        check_identifier("the login", login)  # before it names a queue
        names = self.names
        own = re.escape(names.operator_queue(login, "x").removesuffix("x")) + "[0-9a-f]+"
        permissions = {
            "configure": f"^{own}$",
            "write": f"^({re.escape(names.requests_exchange)}|{own})$",
            "read": f"^({re.escape(names.answers_exchange)}|{own})$",
        }
        return self._make_or_remove(login, "operator", permissions, OPERATOR_LIMITS)

    def revoke(self, login: str) -> None:
        """Close the connections of a login made by `fanfold enroll`; remove it and its queue.

        Raises:
            InvalidInputError: if there is no such login, or `fanfold enroll` did not make it.
        """
        check_identifier("the login", login)
        user = self.management.get("users", login)
        if user is None:
            raise InvalidInputError(f"the broker has no login {login!r}; nothing to revoke")
        if TAG not in _tags(user):
            raise InvalidInputError(
                f"the broker's login {login!r} was not made by `fanfold enroll`; "
                "remove it with RabbitMQ's own tools if you mean it"
            )
        self._remove(login, queue=True)

    def _remove(self, login: str, *, queue: bool) -> None:
        """Remove the login first, so that it cannot reconnect; then its connections and queue."""
        self.management.delete("users", login)
        for connection in self.management.get("connections") or []:
            if connection.get("user") == login:
                self.management.delete("connections", connection["name"])
        if queue:
            own = self._here_and_in_runs(self.names.participant_queue(login))
            for each in self.management.get("queues", self.vhost, columns="name") or []:
                if re.search(own, each["name"]):
                    self.management.delete("queues", self.vhost, each["name"])

    def _here_and_in_runs(self, name: str) -> str:
        """Return a pattern for a name of the federation, and that of each of its runs.

        RabbitMQ's patterns are not anchored, and a dot is any character.
        """
        federation = self.names.federation
        return f"^{re.escape(federation)}{_RUN}{re.escape(name.removeprefix(federation))}$"

    def _refuse_known(self, login: str) -> None:
        if self.management.get("users", login) is not None:
            raise InvalidInputError(
                f"the broker has a login {login!r} already; choose another id, or "
                f"`fanfold revoke {login}` first"
            )

    def _declare_exchanges(self) -> None:
        names = self.names
        for name, kind in (
            (names.parameters_exchange, "fanout"),
            (names.resend_exchange, "direct"),
            (names.reports_exchange, "direct"),
        ):
            body = {"type": kind, "durable": True}
            self.management.put("exchanges", self.vhost, name, body=body)

    def _bind(self, exchange: str, queue: str, key: str) -> None:
        path = ("bindings", self.vhost, "e", exchange, "q", queue)
        self.management.post(*path, body={"routing_key": key})

    def _make_or_remove(
        self, login: str, role: Role, permissions: dict[str, str], limits: dict[str, int]
    ) -> Credentials:
        """Make a login that the broker does not have yet, or leave nothing of it."""
        check_identifier("the login", login)
        self._refuse_known(login)
        try:
            return self._make_login(login, role=role, permissions=permissions, limits=limits)
        except FanfoldError:
            self.management.delete("users", login)
            raise

    def _make_login(
        self, login: str, *, role: Role, permissions: dict[str, str], limits: dict[str, int]
    ) -> Credentials:
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
        for name, value in limits.items():
            self.management.put("user-limits", login, name, body={"value": value})
        self.management.put("permissions", self.vhost, login, body=permissions)
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
