"""The data folder and the environment variables of a private RabbitMQ node."""

import os
import random
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from fanfold.local.rabbitmq_installation import Installation
from fanfold.schemas.errors import BrokerUnreachableError

LOOPBACK = "127.0.0.1"
_USER = "fanfold"
# Below the ports that systems choose for outgoing connections: a client that tries to reach a
# broker that has ended could otherwise get the broker's own port, and block its restart.
_PORTS = range(10_000, 32_000)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a node, on loopback only."""

    amqp: int
    distribution: int
    port_mapper: int
    management: int

    @classmethod
    def free(cls) -> "Ports":
        """Return different ports on which nothing listens now.

        Raises:
            BrokerUnreachableError: if there are not enough.
        """
        free = (port for port in random.sample(_PORTS, 200) if _is_free(port))
        try:
            return cls(*(next(free) for _ in range(4)))
        except StopIteration:
            raise BrokerUnreachableError("no free port for a private broker") from None


class ProcessOptions(TypedDict):
    """Where and as whom a process runs, as `subprocess` takes it."""

    env: dict[str, str]
    cwd: Path
    user: str | int | None
    group: str | int | None
    extra_groups: list[str | int] | None


@dataclass(frozen=True, slots=True)
class NodeSetup:
    """Everything in which one node differs from another; it does not change while the node runs.

    Attributes:
        installation: the RabbitMQ that runs it.
        folder: its data, configuration and logs.
        management: whether it loads the management plugin.
        configuration: settings of `rabbitmq.conf`, which replace the defaults here.
        ports: the ports it listens on.
        user: administrator's login name.
        password: generated for this node.
    """

    installation: Installation
    folder: Path
    management: bool
    configuration: Mapping[str, str]
    ports: Ports = field(default_factory=Ports.free)
    user: str = _USER
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    @property
    def name(self) -> str:
        """The node's name in Erlang."""
        return f"fanfold-{self.ports.amqp}@localhost"

    def write_files(self) -> None:
        """Write the files of the data folder; rabbitmqctl needs the cookie to connect."""
        self.folder.mkdir(parents=True, exist_ok=True)
        cookie = self.folder / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)  # Erlang refuses a cookie that others can read
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self.plugins())}].")
        settings = {**self._settings(), **self.configuration}.items()
        text = "".join(f"{key} = {value}\n" for key, value in settings)
        (self.folder / "rabbitmq.conf").write_text(text)
        if self.installation.user:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self.installation.user, self.installation.user)

    def plugins(self) -> list[str]:
        """Return the plugins that it loads."""
        return ["rabbitmq_management"] if self.management else []

    def process_options(self) -> ProcessOptions:
        """Return folder, environment and user of the node, rabbitmqctl and the port mapper."""
        account = self.installation.user
        return {
            "env": self._environment(),
            "cwd": self.folder,
            "user": account,
            "group": account,
            "extra_groups": [] if account else None,
        }

    def _environment(self) -> dict[str, str]:
        on_loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        folder = str(self.folder)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RABBITMQ_")}
        return inherited | {
            "HOME": folder,
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": f"{folder}/rabbit.log",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": on_loopback,
            "RABBITMQ_CTL_ERL_ARGS": on_loopback,
            "ERL_EPMD_PORT": str(self.ports.port_mapper),
            "ERL_EPMD_ADDRESS": LOOPBACK,
        }

    def _settings(self) -> dict[str, str]:
        settings = {
            "listeners.tcp.local": f"{LOOPBACK}:{self.ports.amqp}",
            "default_user": self.user,
            "default_pass": self.password,
            # 48 hours: a delivery stays unacknowledged for as long as its training runs.
            "consumer_timeout": "172800000",
        }
        if self.management:
            settings["management.tcp.ip"] = LOOPBACK
            settings["management.tcp.port"] = str(self.ports.management)
        if (3, 10) <= self.installation.version < (4, 0):
            settings["classic_queue.default_version"] = "2"  # 4.x has no other
        return settings


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        try:
            attempt.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
