"""Pictures of the page of `fanfold serve` in all of its states, for `make_screenshots`.

A real service with four participants, of which one is stopped in the middle of its training: runs
that wait, go on, are paused, are over and have failed; and one of two hundred light participants.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from browser import Browser

from fanfold.local.broker_node import BrokerNode
from fanfold.page.server import PageServer
from fanfold.page.settings import PageSettings
from fanfold.page.users import set_user

ROOT = Path(__file__).parents[1]
SITES = ("aarhus", "bergen", "cork", "dresden")
SLOW_SITE = "cork"
MANY = 200
PASSWORD = secrets.token_urlsafe()
LOG_IN = """
document.querySelector('#name').value = 'ada';
document.querySelector('#password').value = arguments[0];
document.querySelector('form.login button').click();
"""
SHORT = "document.querySelector('.answer .short')?.textContent"


class Pictures:
    """Takes pictures of a service's page, in a folder of its own."""

    def __init__(self, browser: Browser, node: BrokerNode, folder: Path, images: Path) -> None:
        self._browser = browser
        self._images = images
        self._folder = folder
        self.registry = folder / "registry"
        self._environment = os.environ | {"FANFOLD_BROKER_URL": node.url, "OMP_NUM_THREADS": "1"}
        self._management = str(node.management_url).replace("//", f"//{node.user}:{node.password}@")

    @contextmanager
    def service(self) -> Iterator[str]:
        """Start the service and its participants; yield the page's address."""
        users = self._folder / "users.json"
        set_user(users, "ada", "operator", PASSWORD)
        with ExitStack() as stack:
            log = self._folder / "serve.log"
            flags = [f"--out={self.registry}", "--page-port=0", f"--page-users={users}", "--json"]
            flags += [f"--page-management={self._management}", "--parallel-runs=1"]
            stack.enter_context(self._started("serve", *flags, log=log))
            until(lambda: '"page_served"' in log.read_text())
            told = next(line for line in log.read_text().splitlines() if '"page_served"' in line)
            for index, site in enumerate(SITES):
                share = [f"--partition-index={index}", f"--num-partitions={len(SITES)}"]
                state = f"--state-dir={self._folder / site}"
                flags = ["--allow=digits", f"--id={site}", state, *share]
                process = stack.enter_context(self._started("participant", *flags, name=site))
                if site == SLOW_SITE:
                    self._slow = process
                    stack.callback(process.send_signal, signal.SIGCONT)
            yield told.rpartition('"url": "')[2].partition('"')[0]

    def take(self, url: str) -> None:
        """Let runs come and go, and take a picture of each state."""
        self._log_in(url)
        self._ask("submit", "--name=first", "--rounds=12", "--min-participants=4", "--lr=0.02")
        self._wait_for_state("first", "finished")
        self._ask(
            *("submit", "--name=second", "--from=first@best", "--mode=buffered", "--goal=2"),
            *("--rounds=400", "--min-participants=4", "--keep-versions=every:10"),
        )
        until(lambda: '"version":12,' in self._history("second"))
        self._slow.send_signal(signal.SIGSTOP)
        self._ask("submit", "--name=third", "--from=second@best", "--rounds=50", "--priority=2")
        self._ask("submit", "--name=typo", "--task=radiology:Radiology", "--priority=1")
        time.sleep(8)  # lanes show what happens meanwhile, and the broker has counted
        self._run(url, "second", "page-service", until_shown=f"{SHORT} === 'Yes'")
        self._below("page-service-below", "#curves-title")
        shutil.copytree(self.registry / "runs" / "second", self._folder / "killed" / "second")
        self._slow.send_signal(signal.SIGCONT)
        self._ask("pause", "second")
        self._wait_for_state("third", "open")
        self._run(url, "second", "page-paused", until_shown=f"{SHORT} === 'It is paused'")
        self._below("page-models", "#lineage")
        until(lambda: '"version":3,' in self._history("third"))
        self._ask("pause", "third")
        self._wait_for_state("typo", "failed")
        self._run(url, "typo", "page-failed", until_shown=f"{SHORT} === 'No, it failed'")
        self._run(url, "first", "page-finished", until_shown=f"{SHORT} === 'It is finished'")
        self._ask("go-on", "second")
        self._wait_for_state("second", "open")
        self._ask("submit", "--name=fourth", "--rounds=50")
        self._open(url)
        self._browser.wait_for("document.querySelectorAll('#runs tbody tr').length === 5")
        self._picture("page-runs")
        self._open(f"{url}compare?run=first&run=second&run=third")
        self._browser.wait_for("document.querySelectorAll('#curves svg').length > 0")
        self._picture("page-compare")

    def take_of_folders(self) -> None:
        """Take pictures of what `fanfold page` shows of a run that was killed, and of no run."""
        (self._folder / "killed" / "second" / "run.json").unlink()
        empty = self._folder / "runs"
        empty.mkdir()
        for folder, name, shown in (
            (self._folder / "killed" / "second", "page-killed", f"{SHORT} === 'No'"),
            (empty, "page-empty", "document.querySelector('#runs')"),
        ):
            with PageServer(folder, PageSettings.model_validate({"port": 0})) as server:
                self._open(server.url)
                self._browser.wait_for(shown)
                self._picture(name)

    def take_of_many(self) -> None:
        """Take a picture of two hundred participants at work."""
        run = self._folder / "many"
        names = ("--federation=many",)
        crowd = [sys.executable, "-m", "benchmarks.crowd", *names, f"--count={MANY}"]
        flags = [
            *names,
            f"--out={run}",
            f"--min-participants={MANY}",
            "--goal=150",
            "--mode=buffered",
        ]
        flags += ["--task=benchmarks.identity:Small", "--rounds=100000"]
        with (
            self._started("coordinator", *flags, name="many-coordinator"),
            self._process(crowd, self._folder / "crowd.log"),
            PageServer(run, PageSettings.model_validate({"port": 0})) as server,
        ):
            history = run / "history.jsonl"
            until(lambda: '"version":8,' in history.read_text())
            self._open(server.url)
            self._browser.wait_for(f"document.querySelectorAll('#lanes tr').length > {MANY}")
            time.sleep(4)
            self._picture("page-many")

    def _log_in(self, url: str) -> None:
        """With a wrong password first, which is a picture."""
        self._open(url)
        self._browser.wait_for("document.querySelector('form.login')")
        self._browser.run(LOG_IN, "a wrong one")
        self._browser.wait_for("document.querySelector('.note')")
        self._picture("page-login")
        self._browser.run(LOG_IN, PASSWORD)
        self._browser.wait_for("document.querySelector('#runs')")

    def _run(self, url: str, run: str, name: str, *, until_shown: str) -> None:
        self._open(f"{url}runs/{run}")
        self._browser.wait_for(until_shown, 60)
        time.sleep(2)  # until the queues are known
        self._picture(name)

    def _below(self, name: str, selector: str) -> None:
        """Take a picture of what lies further down a page."""
        self._browser.run(f"document.querySelector('{selector}').scrollIntoView()")
        time.sleep(1)
        self._picture(name)

    def _open(self, url: str) -> None:
        self._browser.emulate(1280, 860, scheme="light")
        self._browser.open(url)

    def _picture(self, name: str) -> None:
        self._browser.picture(self._images / f"{name}.png")

    def _ask(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "fanfold", *arguments, "--json"]
        subprocess.run(command, env=self._environment, check=True, stdout=subprocess.DEVNULL)

    def _history(self, run: str) -> str:
        return (self.registry / "runs" / run / "history.jsonl").read_text()

    def _wait_for_state(self, run: str, state: str) -> None:
        record = self.registry / "runs" / run / "run.json"
        until(lambda: f'"state": "{state}"' in record.read_text())

    def _started(self, *arguments: str, name: str = "", log: Path | None = None) -> Any:
        path = log or self._folder / f"{name}.log"
        return self._process([sys.executable, "-m", "fanfold", *arguments], path)

    @contextmanager
    def _process(self, command: list[str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def until(condition: Callable[[], bool], patience_seconds: float = 180.0) -> None:
    """Wait until a condition is true; a file that is not there yet is no failure."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except FileNotFoundError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{condition} did not come true")


def picture_the_service(browser: Browser, node: BrokerNode, folder: Path, images: Path) -> None:
    """Take all of these pictures."""
    folder.mkdir()
    pictures = Pictures(browser, node, folder, images)
    with pictures.service() as url:
        pictures.take(url)
    pictures.take_of_folders()
    pictures.take_of_many()
