"""A private RabbitMQ node, for one command or one test session."""

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import BrokerUnreachableError
from warren.keeper import Keeper
from warren.node_setup import LOOPBACK, NodeSetup
from warren.rabbitmq_installation import Installation, find_installation

_START_SECONDS = 60.0
_GRACE_SECONDS = 20.0


class BrokerNode:
    """A RabbitMQ node of our own: own name, free ports, own data folder, on loopback only.

    It ends with `stop()`, and also when this process ends in any other way, SIGKILL included: a
    keeper process waits for our end of a pipe to close, then kills the node and its port mapper
    and removes a temporary data folder.

    Use it from one thread at a time.
    """

    def __init__(
        self,
        installation: Installation,
        folder: Path | None,
        *,
        management: bool,
        tls: Path | None,
        configuration: str,
    ) -> None:
        self._keep_folder = folder is not None
        self._setup = NodeSetup(
            installation,
            folder or Path(tempfile.mkdtemp(prefix="warren-broker-")),
            management=management,
            tls=tls,
            extra=configuration,
        )
        self._folder = self._setup.folder
        self._setup.write_files()
        self._keeper = Keeper(remove=None if self._keep_folder else self._folder)
        self._server: subprocess.Popen[bytes] | None = None
        # In the foreground, so that it is our child: the daemon Erlang starts by itself would stay.
        self._epmd = self._spawn([str(installation.epmd)])
        self._keeper.watch(self._epmd)

    @classmethod
    def start(
        cls,
        folder: Path | None = None,
        *,
        management: bool = False,
        tls: Path | None = None,
        configuration: str = "",
        wait: bool = True,
    ) -> Self:
        """Start a node and return it once it accepts connections.

        Args:
            folder: where its data stay afterwards; None takes a temporary folder that goes with
                the node.
            management: whether to load the management plugin (UI and HTTP API).
            tls: folder with `ca.pem`, `server.pem` and `server-key.pem`, as `warren certificates`
                makes them: listen for TLS too, and take client certificates of that CA as a login.
            configuration: lines for `rabbitmq.conf`; a setting given here replaces ours.
            wait: False returns at once, with the URL; call `wait_ready` before it is used.

        Raises:
            InvalidInputError: if no RabbitMQ is installed.
            BrokerUnreachableError: if the node does not come up.
        """
        node = cls(
            find_installation(), folder, management=management, tls=tls, configuration=configuration
        )
        try:
            node._spawn_server()
            if wait:
                node.wait_ready()
        except BaseException:
            node.stop()
            raise
        return node

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<BrokerNode {self._setup.name} at {LOOPBACK}:{self._setup.ports.amqp}>"

    @property
    def url(self) -> str:
        """AMQP URL of the default vhost, with the password."""
        return self.vhost_url("/")

    @property
    def user(self) -> str:
        """The administrator's login name."""
        return self._setup.user

    @property
    def password(self) -> str:
        """The administrator's password, generated for this node."""
        return self._setup.password

    @property
    def tls_port(self) -> int:
        """Where the node listens for TLS, if it was started with `tls`."""
        return self._setup.ports.tls

    @property
    def management_url(self) -> str | None:
        """Base URL of the management UI, None without the plugin."""
        return (
            f"http://{LOOPBACK}:{self._setup.ports.management}" if self._setup.management else None
        )

    @property
    def pid(self) -> int:
        """Process id of the Erlang VM."""
        return int((self._folder / "pid").read_text())

    def vhost_url(self, vhost: str) -> str:
        """Return the AMQP URL of `vhost`, with the password."""
        path = "" if vhost == "/" else f"/{vhost}"
        return f"amqp://{self.user}:{self.password}@{LOOPBACK}:{self._setup.ports.amqp}{path}"

    def resume(self) -> None:
        """Start the node again after `kill`, on the same ports and data."""
        if self._server is None:
            self._spawn_server()
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the node accepts connections.

        Raises:
            BrokerUnreachableError: if it does not come up.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            ended = self._server is None or self._server.poll() is not None
            if ended or time.monotonic() > deadline:
                raise BrokerUnreachableError(
                    f"the private RabbitMQ node did not start: {self._complaints()}"
                )
            time.sleep(0.05)

    def restart(self) -> None:
        """Shut the node down orderly and start it again, on the same ports and data."""
        self._shut_down()
        self.resume()

    def kill(self) -> None:
        """End the node as a power cut would: SIGKILL, no last words."""
        if self._server is not None:
            _end_group(self._server)
            self._server = None

    def suspend(self) -> None:
        """Freeze the node (SIGSTOP): connections stay open and silent, as with a broken network."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Undo `suspend`."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the node and remove a temporary data folder. A second call does nothing."""
        if self._keep_folder:
            self._shut_down()
        self.kill()
        _end_group(self._epmd)
        self._keeper.release()

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node and return what it prints; it takes half a second.

        Raises:
            subprocess.CalledProcessError: if the command fails; `stderr` says why.
        """
        command = [str(self._setup.installation.ctl), "--quiet", *arguments]
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our own arguments
            command, check=True, capture_output=True, text=True, **self._setup.process_options()
        )
        return done.stdout

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
        """Call the management API and return the answer's body.

        Raises:
            BrokerUnreachableError: if the answer is not a success.
        """
        connection = http.client.HTTPConnection(LOOPBACK, self._setup.ports.management, timeout=30)
        login = b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise BrokerUnreachableError(f"{method} {path}: {answer.status} {text}")
        return text

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `command` in a process group of its own, in the data folder."""
        with (self._folder / "console.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the installation's own scripts
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._setup.process_options(),
            )

    def _spawn_server(self) -> None:
        self._server = self._spawn([str(self._setup.installation.server)])
        self._keeper.watch(self._epmd, self._server)

    def _answers(self) -> bool:
        """Ask for the first step of a handshake: an open port alone may still be booting."""
        with (
            suppress(OSError),
            socket.create_connection((LOOPBACK, self._setup.ports.amqp), 2) as talk,
        ):
            talk.sendall(b"AMQP\x00\x00\x09\x01")
            return talk.recv(1) == b"\x01"
        return False

    def _complaints(self) -> str:
        """Return the first errors the server printed: later ones are consequences."""
        lines = (self._folder / "console.log").read_text(errors="replace").splitlines()
        errors = [
            line.partition("[error]")[2].partition("> ")[2] for line in lines if "[error]" in line
        ]
        return " ".join(error.strip() for error in (errors or lines)[:12]) or "it printed nothing"

    def _shut_down(self) -> None:
        if self._server is None:
            return
        self._server.terminate()  # the script passes it on to Erlang, which closes its files
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(_GRACE_SECONDS)
        self.kill()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
