"""The walk of somebody who wants many runs: the README's commands, from a service to a model.

Only the broker's address and the page's port are others. The page is watched meanwhile.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from safetensors.torch import load_file

from fanfold.schemas.tensor_codec import parameters_sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300


def commands() -> list[str]:
    """The block of the README, a command a line."""
    text = (ROOT / "README.md").read_text().partition("### Many runs")[2]
    block = text.partition("```sh\n")[2].partition("```")[0]
    return [line.partition("  #")[0].rstrip() for line in block.splitlines()]


class Shell:
    """A folder in which commands are typed; what goes on behind writes into `log`."""

    def __init__(self, folder: Path, broker: str) -> None:
        self._folder = folder
        self.log = folder / "log"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        python_path = os.pathsep.join(filter(None, sys.path))
        self._environment = os.environ | {
            "PATH": path,
            "PYTHONPATH": python_path,
            "FANFOLD_BROKER_URL": broker,
        }
        self.behind: list[subprocess.Popen[bytes]] = []

    def type(self, command: str) -> str:
        """Run a command, and return what it prints; one that ends with & goes on behind."""
        if command.endswith("&"):
            with self.log.open("ab") as log:
                self.behind.append(
                    subprocess.Popen(
                        shlex.split(command.removesuffix("&")),
                        cwd=self._folder,
                        env=self._environment,
                        stdout=log,
                        stderr=log,
                    )
                )
            return ""
        ended = subprocess.run(
            shlex.split(command),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr + self.log.read_text()
        return ended.stdout

    def wait_for(self, is_so: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < give_up_at, self.log.read_text()[-3000:]
            time.sleep(0.2)


@contextmanager
def shell(folder: Path, broker: str) -> Iterator[Shell]:
    opened = Shell(folder, broker)
    try:
        yield opened
    finally:
        for process in opened.behind:
            process.send_signal(signal.SIGTERM)
        for process in opened.behind:
            process.wait(60)


def test_a_run_is_submitted_watched_and_pulled(tmp_path: Path, broker_url: str) -> None:
    """The login that the service prints opens the page, which shows both participants at work."""
    export, *lines, pull = commands()
    assert export.startswith("export FANFOLD_BROKER_URL=")
    with shell(tmp_path, broker_url) as opened:
        for line in lines:
            opened.type(line.replace("--page-port 8600", "--page-port 0"))
        opened.wait_for(lambda: "the password is in" in opened.log.read_text())
        said = opened.log.read_text()
        url = re.search(r"the page is at (\S+)", said)
        login = re.search(r"log in at the page as (\w+); the password is in (\S+)", said)
        assert url is not None
        assert login is not None
        with httpx.Client(base_url=url[1], timeout=30) as page:
            password = (tmp_path / login[2]).read_text().strip()
            page.post("/login", data={"name": login[1], "password": password})
            assert people_at_work(page) == ["charite", "uke"]
        opened.wait_for(lambda: "finished" in opened.type("fanfold runs"))
        opened.type(pull)

    card = json.loads((tmp_path / "first.json").read_text())
    assert parameters_sha256(load_file(tmp_path / "first.safetensors")) == card["parameters_sha256"]
    assert card["metrics"]["accuracy"] > 0.8
    assert "# Model card: first, version 8" in (tmp_path / "first.md").read_text()


def people_at_work(page: httpx.Client) -> list[str]:
    """Who has a lane on the page, once two have."""
    names: set[str] = set()
    with page.stream("GET", "/runs/first/stream") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                people = json.loads(line.removeprefix("data: "))["people"]
                names |= {each["name"] for each in people}
            if len(names) == 2:
                break
    return sorted(names)
