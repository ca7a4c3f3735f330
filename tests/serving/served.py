"""A service as a process, participants that allow its tasks, and an operator."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
TASK = "tests.federation.tiny_tasks:Tiny"


class ServedFederation:
    """A service and its participants as processes; what an operator asks runs in this one."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        self.url, self.name, self.folder = url, name, folder
        self.registry = folder / "registry"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        folder.mkdir(exist_ok=True)

    def serve(self, *flags: str) -> None:
        flags = (f"--out={self.registry}", "--reconnect-seconds=0.5", "--device=cpu", *flags)
        self._start("serve", "serve", *flags)
        log = self.folder / "serve.log"
        self.wait_for(lambda: '"event": "service_started"' in log.read_text())

    def participant(self, index: int, num: int, *flags: str, name: str | None = None) -> None:
        """Start one that allows the tiny task, or what the flags name."""
        allowed = () if any(flag.startswith("--allow") for flag in flags) else (f"--allow={TASK}",)
        name = name or f"p{index}"
        self._start(
            name,
            "participant",
            *(f"--id={name}", f"--partition-index={index}", f"--num-partitions={num}"),
            *(f"--state-dir={self.folder / name}", "--device=cpu", "--reconnect-seconds=0.5"),
            *("--progress-seconds=0.5", *allowed, *flags),
        )

    def again(self, name: str) -> None:
        """Start a process that was killed once more."""
        self._spawn(name)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait(PATIENCE_SECONDS)

    def stop(self, name: str) -> int:
        """Ask a process to end, and return its exit code."""
        self._processes[name].terminate()
        return self._processes[name].wait(PATIENCE_SECONDS)

    def coordinators(self) -> dict[str, int]:
        """Process ids of the coordinators of open runs, by run."""
        marker = f"--federation={self.name}.run.".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = path.read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            for each in arguments:
                if each.startswith(marker):
                    found[each.removeprefix(marker).decode()] = int(path.parent.name)
        return found

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what a command of an operator prints as JSON."""
        code, said = self.try_to(*arguments)
        assert code == 0, said
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def try_to(self, *arguments: str, url: str | None = None) -> tuple[int, str]:
        """Return exit code and output of a command of an operator, as a process of its own."""
        command = [*arguments, f"--federation={self.name}", "--answer-seconds=60", "--json"]
        ended = subprocess.run(
            [sys.executable, "-m", "fanfold", *command],
            cwd=ROOT,
            env=self._environment(url),
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr

    def submit(self, name: str, *flags: str) -> None:
        self.ask("submit", f"--name={name}", f"--task={TASK}", *flags)

    def state(self, run: str) -> dict[str, Any]:
        (told,) = self.ask("show", run)
        return told

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Look again and again until it is so."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < give_up_at, self.logs()
            time.sleep(0.05)

    def record(self, run: str) -> dict[str, Any]:
        """The record on disk."""
        document: dict[str, Any] = json.loads(
            (self.registry / "runs" / run / "run.json").read_text()
        )
        return document

    def wait_for_state(self, run: str, *states: str) -> dict[str, Any]:
        """Wait until the record on disk is in one of these states, and return it."""
        self.wait_for(lambda: self.record(run)["state"] in states)
        return self.record(run)

    def wait_for_version(self, run: str, version: int) -> None:
        history = self.registry / "runs" / run / "history.jsonl"
        self.wait_for(lambda: history.exists() and f'"version":{version},' in history.read_text())

    def logs(self) -> str:
        paths = [*self.folder.glob("*.log"), *self.registry.glob("runs/*/coordinator.log")]
        return "\n".join(f"== {path}\n{path.read_text()[-3000:]}" for path in paths)

    def close(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()

    def _start(self, name: str, *arguments: str) -> None:
        self._commands[name] = [*arguments, f"--federation={self.name}", "--json"]
        self._spawn(name)

    def _spawn(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "fanfold", *self._commands[name]],
                cwd=ROOT,
                env=self._environment(None),
                stdout=log,
                stderr=log,
            )

    def _environment(self, url: str | None) -> dict[str, str]:
        return os.environ | {"FANFOLD_BROKER_URL": url or self.url, "OMP_NUM_THREADS": "1"}
