"""Services of one federation, on threads or as processes, over the session's broker."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from named_events import named

from fanfold.coordinator.assembly import serve as serve_coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.events.event import Event
from fanfold.views.wall_clock import utc_now
from tests.federation.hidden_tasks import HiddenAndGated
from tests.federation.masked_federation import Make, Masked

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90


class Service:
    """A service on a thread of its own, and what it said."""

    def __init__(
        self, serve: Callable[..., Any], settings: Any, threads: ThreadPoolExecutor
    ) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()
        ready: Future[Callable[[str], None]] = Future()

        def on_ready(stop: Callable[[str], None]) -> None:
            self.stop = stop  # another one once a slot is claimed
            if not ready.done():
                ready.set_result(stop)

        self.result = threads.submit(serve, settings, say=self._say, on_ready=on_ready)
        self.result.add_done_callback(
            lambda done: None if ready.done() else ready.set_exception(done.exception())
        )
        ready.result(PATIENCE_SECONDS)

    def _say(self, event: Event) -> None:
        with self._changed:
            self.said.append(named(event))
            self._changed.notify_all()

    def all(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if name == event]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_SECONDS), self.said

    def wait_for(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.all(event)) >= times, PATIENCE_SECONDS
            ), self.said
        return self.all(event)


def _path(task: str) -> str:
    """Return a task of `tiny_tasks` by its name alone, any other one by its path."""
    return task if ":" in task else f"tests.federation.tiny_tasks:{task}"


class LiveFederation:
    """One federation. Its services are stopped at the end of the test."""

    def __init__(self, url: str, name: str, out: Path, threads: ThreadPoolExecutor) -> None:
        self.url, self.name, self.out = url, name, out
        self._common: dict[str, Any] = {
            "federation": name,
            "broker": (url,),
            "device": "cpu",
            "reconnect_seconds": 0.5,
        }
        self._threads = threads
        self.services: list[Service] = []
        self.processes: list[Process] = []

    def coordinator(self, task: str, **options: Any) -> Service:
        given = {"out": self.out, "task": _path(task), "lr": 0.1}
        settings = CoordinatorSettings(**(self._common | given | options))
        return self.start(partial(serve_coordinator, wall_clock=utc_now), settings)

    def participant(self, task: str, index: int = 0, num: int = 1, **options: Any) -> Service:
        given = {
            "id": f"p{index}",
            **({} if "allow" in options else {"task": _path(task)}),
            "partition_index": index,
            "num_partitions": num,
            "progress_seconds": 0.2,
        }
        settings = ParticipantSettings(**(self._common | given | options))
        return self.start(partial(serve_participant, wall_clock=utc_now), settings)

    def process(self, command: str, task: str, *flags: str, **environment: str) -> "Process":
        return self.command(
            command,
            f"--federation={self.name}",
            f"--task=tests.federation.tiny_tasks:{task}",
            "--device=cpu",
            "--json",
            *flags,
            **environment,
        )

    def command(self, *arguments: str, **environment: str) -> "Process":
        everything = {"FANFOLD_BROKER_URL": self.url, **environment}
        self.processes.append(Process(list(arguments), everything))
        return self.processes[-1]

    def start(self, serve: Callable[..., Any], settings: Any) -> Service:
        self.services.append(Service(serve, settings, self._threads))
        return self.services[-1]

    def stop_all(self) -> None:
        """Stop all services, and wait until they have left."""
        for service in self.services:
            service.stop("something else begins")
        for service in self.services:
            service.result.result(PATIENCE_SECONDS)

    def close(self) -> None:
        for service in self.services:
            service.stop("the test is over")
        for process in self.processes:
            process.close()


class Process:
    """`python -m fanfold ...`, and the events it printed."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fanfold", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[dict[str, Any]] = []

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """Read on to an event with these fields."""
        assert self._process.stdout is not None
        wanted = {"event": event, **fields}
        for line in self._process.stdout:
            self.said.append(json.loads(line))
            if wanted.items() <= self.said[-1].items():
                return self.said[-1]
        raise AssertionError(f"no {wanted} in {self.said}: {self._process.stderr.read()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def terminate(self) -> tuple[int, str]:
        """Ask it to end, and return exit code and standard error."""
        self._process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> tuple[int, str]:
        """Wait for the end, and return exit code and standard error."""
        rest, stderr = self._process.communicate(timeout=PATIENCE_SECONDS)
        self.said += [json.loads(line) for line in rest.splitlines()]
        return self._process.returncode, stderr

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def live(broker_url: str, federation: str, tmp_path: Path) -> Iterator[LiveFederation]:
    """One federation with nobody in it yet."""
    with ThreadPoolExecutor(max_workers=12) as threads:
        live = LiveFederation(broker_url, federation, tmp_path / "out", threads)
        try:
            yield live
        finally:
            live.close()


@pytest.fixture
def hidden_gate() -> Iterator[threading.Event]:
    """The first participant's trainings of `HiddenAndGated` wait while it is closed."""
    HiddenAndGated.gate.clear()
    yield HiddenAndGated.gate
    HiddenAndGated.gate.set()


@pytest.fixture
def masked(live: LiveFederation, tmp_path: Path) -> Make:
    """A function that returns a federation with so many keepers."""
    return lambda num_keepers: Masked(live, tmp_path / "keys", num_keepers)
