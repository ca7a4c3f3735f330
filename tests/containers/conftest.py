"""A compose project of its own for each test, gone afterwards with its volumes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE_SECONDS = 600.0
OUR_IMAGES = ("fanfold-coordinator", "fanfold-participant", "fanfold-keeper")
BASE_IMAGES = ("rabbitmq:4-management", "python:3.11-slim")


class Compose:
    """`docker compose` on some of our files, in a project of its own."""

    def __init__(
        self, *files: str, deploy: Path = DEPLOY, project: str | None = None, **variables: str
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.project = project or f"fanfold-{uuid.uuid4().hex[:8]}"
        self._environment = os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "FANFOLD_UI_PORT": str(port),
            **variables,
        }
        self._command = [*compose_command()]
        for file in files:
            self._command += ["-f", str(deploy / file)]

    def __call__(self, *arguments: str) -> str:
        """Run a subcommand and return what it prints."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def up(self, participants: int) -> None:
        """Start what is not running, with so many participants; what runs stays as it is."""
        more = ("--no-build", "--no-recreate", "--scale", f"participant={participants}")
        self("up", "-d", *more)

    def container(self, service: str, number: int = 1) -> str:
        """Return the id of a service's container."""
        label = "com.docker.compose"
        return docker(
            *("ps", "-aq", "--filter", f"label={label}.project={self.project}"),
            *("--filter", f"label={label}.service={service}"),
            *("--filter", f"label={label}.container-number={number}"),
        ).strip()

    def log(self, service: str, number: int = 1) -> str:
        """Return what a container has printed so far."""
        return docker("logs", self.container(service, number), both=True)

    def events(self, name: str, service: str, number: int = 1) -> list[dict[str, Any]]:
        """The events of a name that a service has reported; log lines have no such event."""
        found = []
        for line in self.log(service, number).splitlines():
            with suppress(json.JSONDecodeError):
                fields = json.loads(line)
                if isinstance(fields, dict) and fields.get("event") == name:
                    found.append(fields)
        return found

    def kill(self, service: str, number: int = 1) -> None:
        """End a container as a power cut would."""
        docker("kill", self.container(service, number))

    def crash(self, service: str, number: int = 1) -> None:
        """Kill a container's process behind the engine's back, as a bug or the kernel would."""
        state = docker("inspect", "-f", "{{.State.Pid}}", self.container(service, number))
        os.kill(int(state), signal.SIGKILL)

    def restarts(self, service: str, number: int = 1) -> int:
        """How often the engine has started a container again by its policy."""
        return int(docker("inspect", "-f", "{{.RestartCount}}", self.container(service, number)))

    def start(self, service: str, number: int = 1) -> None:
        """Start a container again that was killed."""
        docker("start", self.container(service, number))

    def rounds(self) -> list[tuple[int, int, float]]:
        """Number, updates and accuracy of the rounds that the coordinator has closed.

        A coordinator that is killed right after it has reported a round reports it again.
        """
        closed = self.events("round_closed", "coordinator")
        told = [(each["round"], each["updates"], each["accuracy"]) for each in closed]
        return list(dict.fromkeys(told))

    def metrics(self, service: str, page: str) -> set[str]:
        """Names of the metrics on a page, as a service's container gets it."""
        program = f"import urllib.request as u; print(u.urlopen('http://{page}').read().decode())"
        text = docker("exec", self.container(service), "python3", "-c", program)
        return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))

    def is_finished(self) -> bool:
        """Whether the run has ended as it should."""
        return bool(self.events("run_finished", "coordinator"))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; what does not exist yet may still come."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(subprocess.CalledProcessError):
                if condition():
                    return
            if time.monotonic() > deadline:
                states = self("ps")
                pytest.fail(
                    f"it did not come to that:\n{states}\n{self.log('coordinator')[-3000:]}"
                )
            time.sleep(0.5)

    def until_round(self, number: int) -> None:
        """Wait until a round is closed."""
        self.until(lambda: any(closed >= number for closed, _, _ in self.rounds()))

    def files_of_the_run(self) -> dict[str, int]:
        """Name and size of what lies on the coordinator's volume."""
        program = (
            "import json, pathlib; files = pathlib.Path('/runs').iterdir();"
            "print(json.dumps({file.name: file.stat().st_size for file in files}))"
        )
        volume = f"{self.project}_runs:/runs:ro"
        image = "python:3.11-slim"
        listing = docker("run", "--rm", "-v", volume, image, "python3", "-c", program)
        sizes: dict[str, int] = json.loads(listing)
        return sizes


def compose_command() -> list[str]:
    """`docker compose`, or docker-compose 1.29."""
    if subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False
    ).returncode:
        return ["docker-compose"]
    return ["docker", "compose"]


def docker(*arguments: str, both: bool = False) -> str:
    """Run `docker` and return its standard output; with `both`, standard error too."""
    return subprocess.run(
        ["docker", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE,
        text=True,
    ).stdout


@pytest.fixture(scope="session", autouse=True)
def _an_engine_with_our_images() -> None:
    need_images()


def need_images() -> None:
    """`make containers` builds ours, and what they stand beside is pulled where it is missing.

    Without an engine there is nothing to test.
    """
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker Engine answers here (`docker info`)")
    missing = [image for image in OUR_IMAGES if not is_here(image)]
    if missing:
        pytest.fail(f"images are missing: {', '.join(missing)}; run `make containers`")
    for image in BASE_IMAGES:
        if not is_here(image):
            pull = subprocess.run(
                ["docker", "pull", image], capture_output=True, text=True, check=False
            )
            if pull.returncode:
                pytest.fail(f"the image {image} is missing and cannot be pulled: {pull.stderr}")


def is_here(image: str) -> bool:
    return bool(docker("image", "ls", "-q", image).strip())


@pytest.fixture
def compose() -> Iterator[Callable[..., Compose]]:
    """Make compose projects that are gone when the test ends."""
    with projects() as make:
        yield make


@contextmanager
def projects() -> Iterator[Callable[..., Compose]]:
    """Yield what makes compose projects, which are gone afterwards, whatever happened."""
    made: list[Compose] = []

    def make(*files: str, **given: Any) -> Compose:
        made.append(Compose(*files, **given))
        return made[-1]

    try:
        yield make
    finally:
        for project in reversed(made):
            project("down", "--volumes", "--timeout", "15")
