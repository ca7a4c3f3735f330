"""What a private RabbitMQ node finds in its data folder and in its environment."""

import os
import random
import secrets
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import BrokerUnreachableError
from warren.rabbitmq_installation import Installation

LOOPBACK = "127.0.0.1"
_USER = "warren"
_TLS_FILES = ("ca.pem", "server.pem", "server-key.pem")
# Below the ports that systems hand out to outgoing connections: a client that knocks at a dead
# broker's port could otherwise be given that very port, and the broker could not come back.
_PORTS = range(10_000, 32_000)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a node listens, on loopback only."""

    amqp: int
    distribution: int
    port_mapper: int
    management: int
    tls: int

    @classmethod
    def free(cls) -> "Ports":
        """Return different ports on which nothing listens now."""
        free = (port for port in random.sample(_PORTS, 200) if _is_free(port))
        try:
            return cls(*(next(free) for _ in range(5)))
        except StopIteration:
            raise BrokerUnreachableError("no free port for a private broker") from None


@dataclass(frozen=True, slots=True)
class NodeSetup:
    """Everything that makes one node differ from another; it does not change while it lives.

    Attributes:
        installation: the RabbitMQ that runs it.
        folder: its data, configuration and logs.
        management: whether it loads the management plugin.
        tls: folder with its certificate, None without TLS.
        extra: lines for `rabbitmq.conf` that replace ours.
        ports: where it listens.
        user: administrator's login name.
        password: generated for this node.
    """

    installation: Installation
    folder: Path
    management: bool
    tls: Path | None
    extra: str
    ports: Ports = field(default_factory=Ports.free)
    user: str = _USER
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    @property
    def name(self) -> str:
        """The node's name in Erlang."""
        return f"warren-{self.ports.amqp}@localhost"

    def write_files(self) -> None:
        """Lay out the data folder; the cookie is what lets rabbitmqctl in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        cookie = self.folder / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)  # Erlang refuses a cookie that others can read
        plugins = ["rabbitmq_management"] if self.management else []
        if self.tls is not None:
            plugins.append("rabbitmq_auth_mechanism_ssl")
            for name in _TLS_FILES:
                (self.folder / name).write_bytes((self.tls / name).read_bytes())
                (self.folder / name).chmod(0o600)
        (self.folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].")
        (self.folder / "rabbitmq.conf").write_text(self._configuration())
        if self.installation.user:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self.installation.user, self.installation.user)

    def process_options(self) -> dict[str, Any]:
        """Return where and as whom the node, rabbitmqctl and the port mapper run."""
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

    def _configuration(self) -> str:
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
        if self.tls is not None:
            settings |= {
                "listeners.ssl.local": f"{LOOPBACK}:{self.ports.tls}",
                "ssl_options.cacertfile": f"{self.folder}/ca.pem",
                "ssl_options.certfile": f"{self.folder}/server.pem",
                "ssl_options.keyfile": f"{self.folder}/server-key.pem",
                "ssl_options.verify": "verify_peer",  # of clients that have a certificate
                "ssl_options.fail_if_no_peer_cert": "false",
                "auth_mechanisms.1": "EXTERNAL",
                "auth_mechanisms.2": "PLAIN",
                "ssl_cert_login_from": "common_name",
            }
        if (3, 10) <= self.installation.version < (4, 0):
            settings["classic_queue.default_version"] = "2"  # 4.x knows no other
        for line in self.extra.splitlines():
            key, equals, value = line.partition("=")
            if equals:
                settings[key.strip()] = value.strip()
        return "".join(f"{key} = {value}\n" for key, value in settings.items())


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        try:
            attempt.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
