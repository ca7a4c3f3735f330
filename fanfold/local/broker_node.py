"""A private RabbitMQ node, for one command or one test session."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self

from fanfold.local.cleanup_process import CleanupProcess
from fanfold.local.node_setup import LOOPBACK, NodeSetup
from fanfold.local.rabbitmq_installation import find_installation
from fanfold.schemas.errors import BrokerUnreachableError

_START_SECONDS = 60.0


class BrokerNode:
    """A private RabbitMQ node with its own name, ports and data folder, on loopback only.

    It ends with `stop()`, and also when this process ends in any other way, SIGKILL included: a
    cleanup process waits for our end of a pipe to close, then kills the node and its port mapper
    and removes the data folder.

    Use it from one thread at a time.
    """

    def __init__(self, setup: NodeSetup) -> None:
        """Make its folder and start its port mapper, but not the node."""
        self._setup = setup
        self._folder = setup.folder
        setup.write_files()
        self._cleanup = CleanupProcess(remove=self._folder)
        self._server: subprocess.Popen[bytes] | None = None
        # In the foreground, as our child: the daemon that Erlang starts by itself would not end.
        self._epmd = self._spawn([str(setup.installation.epmd)])
        self._cleanup.watch(self._epmd)

    @classmethod
    def start(
        cls,
        *,
        management: bool = False,
        configuration: Mapping[str, str] = MappingProxyType({}),
        wait: bool = True,
    ) -> Self:
        """Start a node and return it once it accepts connections.

        Args:
            management: whether to load the management plugin (UI and HTTP API).
            configuration: settings of `rabbitmq.conf`, which replace the defaults here.
            wait: False returns at once, with the URL; call `wait_ready` before it is used.

        Raises:
            InvalidInputError: if no RabbitMQ is installed.
            BrokerUnreachableError: if the node does not start.
        """
        return cls._up(
            NodeSetup(find_installation(), new_folder(), management, configuration), wait=wait
        )

    @classmethod
    def _up(cls, setup: NodeSetup, *, wait: bool) -> Self:
        node = cls(setup)
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

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<BrokerNode {self._setup.name} at {LOOPBACK}:{self._setup.ports.amqp}>"

    @property
    def url(self) -> str:
        """AMQP URL of the default vhost, with the password."""
        return f"amqp://{self.user}:{self.password}@{LOOPBACK}:{self._setup.ports.amqp}"

    @property
    def user(self) -> str:
        """The administrator's login name."""
        return self._setup.user

    @property
    def password(self) -> str:
        """The administrator's password, generated for this node."""
        return self._setup.password

    @property
    def management_url(self) -> str | None:
        """Base URL of the management UI, None without the plugin."""
        return (
            f"http://{LOOPBACK}:{self._setup.ports.management}" if self._setup.management else None
        )

    def wait_ready(self) -> None:
        """Wait until the node accepts connections.

        Raises:
            BrokerUnreachableError: if it does not start.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not takes_connections(self._setup.ports.amqp):
            ended = self._server is None or self._server.poll() is not None
            if ended or time.monotonic() > deadline:
                raise BrokerUnreachableError(
                    f"the private RabbitMQ node did not start: {self._first_errors()}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """End the node and remove its data folder. A second call does nothing."""
        if self._server is not None:
            end_group(self._server)
            self._server = None
        end_group(self._epmd)
        self._cleanup.release()

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `command` in a process group of its own, in the data folder."""
        with (self._folder / "console.log").open("ab") as log:
            return subprocess.Popen(  # the installation's own scripts
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._setup.process_options(),
            )

    def _spawn_server(self) -> None:
        self._server = self._spawn([str(self._setup.installation.server)])
        self._cleanup.watch(self._epmd, self._server)

    def _first_errors(self) -> str:
        """Return the first errors the server printed: later ones are consequences."""
        lines = (self._folder / "console.log").read_text(errors="replace").splitlines()
        errors = [
            line.partition("[error]")[2].partition("> ")[2] for line in lines if "[error]" in line
        ]
        return " ".join(error.strip() for error in (errors or lines)[:12]) or "it printed nothing"


def takes_connections(port: int) -> bool:
    """Try the first step of AMQP's handshake: while a broker starts, its port may be open."""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), 2) as talk:
        talk.sendall(b"AMQP\x00\x00\x09\x01")
        return talk.recv(1) == b"\x01"
    return False


def new_folder() -> Path:
    """Return an empty folder for a node."""
    return Path(tempfile.mkdtemp(prefix="fanfold-broker-"))


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all of its group, and wait for it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
