"""A RabbitMQ in a container, which a benchmark kills and starts again as it does a private node."""

import secrets
import shutil
import subprocess
import time
from types import TracebackType
from typing import Self

from fanfold.local.broker_node import takes_connections
from fanfold.local.node_setup import LOOPBACK, Ports
from fanfold.schemas.errors import BrokerUnreachableError

LOGIN = "fanfold"
OPEN_FILES = 16_384
"""As the compose files have it: engines have defaults from a thousand to a billion."""
START_SECONDS = 120.0


class BrokerContainer:
    """A container of an image of RabbitMQ, removed with its data when the block ends.

    Its port on this machine stays the same over a restart, which one that Docker chooses would not.
    """

    def __init__(self, image: str) -> None:
        """Start it, and wait until it takes connections.

        Raises:
            BrokerUnreachableError: if it does not start.
        """
        self._port = Ports.free().amqp
        self._name = f"fanfold-{self._port}"
        password = secrets.token_urlsafe(18)
        self.url = f"amqp://{LOGIN}:{password}@{LOOPBACK}:{self._port}"
        try:
            docker(
                *("run", "--detach", f"--name={self._name}"),
                f"--publish={LOOPBACK}:{self._port}:5672",
                f"--ulimit=nofile={OPEN_FILES}",
                f"--env=RABBITMQ_DEFAULT_USER={LOGIN}",
                f"--env=RABBITMQ_DEFAULT_PASS={password}",
                image,
            )
            self._wait()
        except BaseException:
            self._remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._remove()

    def kill(self) -> None:
        """End it as a power cut would."""
        docker("kill", self._name)

    def resume(self) -> None:
        """Start it again after `kill`, on the same port and data."""
        docker("start", self._name)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not takes_connections(self._port):
            is_running = docker("inspect", "--format={{.State.Running}}", self._name) == "true"
            if not is_running or time.monotonic() > deadline:
                raise BrokerUnreachableError(
                    f"the broker's container did not start: {docker('logs', self._name)[-2000:]}"
                )
            time.sleep(0.05)

    def _remove(self) -> None:
        docker("rm", "--force", "--volumes", self._name)


def docker(*arguments: str) -> str:
    """Run `docker` and return what it prints.

    Raises:
        BrokerUnreachableError: if there is none, or if it fails, with its words.
    """
    program = shutil.which("docker")
    if program is None:
        raise BrokerUnreachableError("there is no docker here")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerUnreachableError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
