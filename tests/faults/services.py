"""A federation of processes that can be killed and started again, one by one."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from phase_notes import NO_AIM, PhaseNote

HERE = Path(__file__).parent
STUCK_SECONDS = 180.0
"""Nothing takes so long unless it hangs, even on a machine that is busy with other things."""


class HangError(Exception):
    """Raised when something that must happen does not."""


@dataclass(slots=True)
class Service:
    """One service; its process may be killed and started again."""

    name: str
    arguments: list[str]
    note: PhaseNote
    environment: dict[str, str]
    pid: int | None = None
    starts: int = 0


class ForkServer:
    """The process that forks services, and ends them when we end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)])},
            text=True,
        )
        self._replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.codes: dict[int, int] = {}
        """Exit codes by process id."""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self._reply("ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()

    def fork(self, order: dict[str, Any]) -> int:
        """Start what is ordered and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._reply("started")["pid"])

    def _reply(self, key: str) -> dict[str, Any]:
        reply = self._replies.get(timeout=STUCK_SECONDS)
        assert key in reply, reply
        return reply

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            if "ended" in reply:
                self.codes[reply["ended"]] = reply["code"]
            else:
                if "started" in reply:
                    self.codes.pop(reply["pid"], None)  # the number of one that is long gone
                self._replies.put(reply)


class Services:
    """Coordinator and participants of one test; those that still run at its end are killed."""

    def __init__(self, fork_server: ForkServer, folder: Path, environment: dict[str, str]) -> None:
        self._fork_server = fork_server
        self._folder = folder
        self.environment = environment
        """What they find in theirs, beside what is their own."""
        folder.mkdir(parents=True, exist_ok=True)
        self._services: dict[str, Service] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services.values():
            if not self.has_ended(service):
                self.kill(service)

    def add(self, name: str, *arguments: str, trouble: str = "", **environment: str) -> Service:
        """Start a service for the first time."""
        note = PhaseNote(self._folder / f"{name}.phase")
        service = Service(name, list(arguments), note, environment)
        self._services[name] = service
        self.start(service, trouble=trouble)
        return service

    def start(self, service: Service, *, trouble: str = "") -> None:
        """Start a service that does not run, with a trouble of `fault_points` or without."""
        service.note.phase = "starting"
        service.note.aim = NO_AIM
        order = {
            "name": service.name,
            "arguments": service.arguments,
            "environment": self.environment | service.environment,
            "trouble": trouble,
            "log": str(self._folder / f"{service.name}.log"),
            "events": str(self._folder / f"{service.name}.events"),
            "note": str(self._folder / f"{service.name}.phase"),
        }
        service.pid = self._fork_server.fork(order)
        service.starts += 1

    def kill(self, service: Service) -> str:
        """Kill -9, and return the phase it was in."""
        assert service.pid is not None
        with suppress(ProcessLookupError):  # it hit the phase that it was to die in
            os.kill(service.pid, signal.SIGKILL)
        self.wait(service)
        return service.note.phase

    def terminate(self, service: Service) -> None:
        """Ask a service to end."""
        assert service.pid is not None
        os.kill(service.pid, signal.SIGTERM)

    def wait(self, service: Service) -> int:
        """Wait for the end of a service and return its exit code."""
        until(lambda: self.has_ended(service), f"the end of {service.name}")
        assert service.pid is not None
        return self._fork_server.codes[service.pid]

    def has_ended(self, service: Service) -> bool:
        return service.pid in self._fork_server.codes

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return a service's events since its first start; a kill may have cut a line short."""
        path = self._folder / f"{name}.events"
        events = []
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return events


def until(condition: Callable[[], object], what: str, *, seconds: float = STUCK_SECONDS) -> None:
    """Wait for a condition.

    Raises:
        HangError: if it does not come true in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise HangError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.01)
