"""The private broker node, with what only tests do to it."""

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

import httpx

from fanfold.local import broker_node
from fanfold.local.node_setup import LOOPBACK, NodeSetup, Ports
from fanfold.local.rabbitmq_installation import find_installation

_TLS_FILES = ("ca.pem", "server.pem", "server-key.pem")


@dataclass(frozen=True, slots=True)
class TlsSetup(NodeSetup):
    """Of a node that listens for TLS too, and takes client certificates of its CA as a login.

    Attributes:
        tls: folder with `ca.pem`, `server.pem` and `server-key.pem`, as `fanfold certificates`
            makes them.
    """

    tls: Path | None = None

    def write_files(self) -> None:
        assert self.tls is not None
        for name in _TLS_FILES:
            (self.folder / name).write_bytes((self.tls / name).read_bytes())
            (self.folder / name).chmod(0o600)
        NodeSetup.write_files(self)

    def plugins(self) -> list[str]:
        return [*NodeSetup.plugins(self), "rabbitmq_auth_mechanism_ssl"]

    @staticmethod
    def configuration_for(folder: Path, port: int) -> dict[str, str]:
        return {
            "listeners.ssl.local": f"{LOOPBACK}:{port}",
            "ssl_options.cacertfile": f"{folder}/ca.pem",
            "ssl_options.certfile": f"{folder}/server.pem",
            "ssl_options.keyfile": f"{folder}/server-key.pem",
            "ssl_options.verify": "verify_peer",  # of clients that have a certificate
            "ssl_options.fail_if_no_peer_cert": "false",
            "auth_mechanisms.1": "EXTERNAL",
            "auth_mechanisms.2": "PLAIN",
            "ssl_cert_login_from": "common_name",
        }


class BrokerNode(broker_node.BrokerNode):
    """A node that can be killed, frozen and administered. Use it from one thread at a time."""

    tls_port = 0
    """Where it listens for TLS, if it was started with `tls`."""
    _has_booted = False

    @classmethod
    def start(
        cls,
        *,
        management: bool = False,
        configuration: Mapping[str, str] = MappingProxyType({}),
        tls: Path | None = None,
        wait: bool = True,
    ) -> Self:
        """Start a node, with TLS where a folder of certificates is given."""
        if tls is None:
            return super().start(management=management, configuration=configuration, wait=wait)
        folder, port = broker_node.new_folder(), Ports.free().amqp
        configuration = TlsSetup.configuration_for(folder, port) | dict(configuration)
        setup = TlsSetup(find_installation(), folder, management, configuration, tls=tls)
        node = cls._up(setup, wait=wait)
        node.tls_port = port
        return node

    @property
    def pid(self) -> int:
        """Process id of the Erlang VM."""
        return int((self._folder / "pid").read_text())

    def vhost_url(self, vhost: str) -> str:
        """Return the AMQP URL of `vhost`, with the password."""
        return f"{self.url}/{vhost}"

    def kill(self) -> None:
        """End the node as a power cut would: SIGKILL, no last words."""
        if self._server is not None:
            broker_node.end_group(self._server)
            self._server = None

    def resume(self) -> None:
        """Start the node again after `kill`, on the same ports and data."""
        if self._server is None:
            self._spawn_server()
            self.wait_ready()

    def sync_declarations(self) -> None:
        """Have the node write to disk what was declared; it takes two seconds to do so unasked."""
        self.ctl("eval", "mnesia:sync_log().")

    def suspend(self) -> None:
        """Freeze the node (SIGSTOP): connections stay open and silent, as with a broken network."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Undo `suspend`."""
        os.kill(self.pid, signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node and return what it prints; it takes half a second.

        A node listens before it has booted, and refuses the first command then.
        """
        if not self._has_booted:
            self._has_booted = True
            self.ctl("await_startup")
        command = [str(self._setup.installation.ctl), "--quiet", *arguments]
        options = self._setup.process_options()
        return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout

    def create_vhost(self, name: str) -> str:
        """Create a vhost that our user may use fully, and return its AMQP URL."""
        if self._setup.management:
            self.api("PUT", f"/api/vhosts/{name}")
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, self.user, ".*", ".*", ".*")
        return self.vhost_url(name)

    def delete_vhost(self, name: str) -> None:
        """Delete a vhost; the broker closes the connections to it."""
        if self._setup.management:
            self.api("DELETE", f"/api/vhosts/{name}")
        else:
            self.ctl("delete_vhost", name)

    def api(self, method: str, path: str, body: str | None = None) -> str:
        """Call the management API and return the answer's body."""
        login = (self.user, self.password)
        answer = httpx.request(
            method,
            f"{self.management_url}{path}",
            content=body,
            auth=login,
            headers={"Content-Type": "application/json"},
            timeout=30,
            trust_env=False,
        )
        return answer.raise_for_status().text
