"""A federation of JavaScript's participant, a coordinator, and participants of ours beside it."""

import json
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from fanfold.coordinator.assembly import serve as serve_coordinator
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.participant.assembly import serve as serve_participant
from fanfold.participant.settings import ParticipantSettings
from fanfold.schemas.message_codec import Decoded, decode
from fanfold.schemas.reader_limits import ReaderLimits
from tests.federation.conftest import PATIENCE_SECONDS, Service

FOLDER = Path(__file__).parents[2] / "examples" / "foreign"
TASK = "softmax:Softmax"


class Foreign:
    """`node participant.js ...`, and the events it printed."""

    def __init__(self, url: str, federation: str, state: Path, *flags: str) -> None:
        self.state = state
        self.said: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [
                *("node", "participant.js", "--federation", federation, "--state", str(state)),
                *("--progress-seconds", "0.5", *flags),
            ],
            cwd=FOLDER,
            env=os.environ | {"FANFOLD_BROKER_URL": url},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """Return the first event with these fields."""
        wanted = {"event": event, **fields}
        with self._changed:
            assert self._changed.wait_for(lambda: self._all(wanted), PATIENCE_SECONDS), self.said
            return self._all(wanted)[0]

    def versions(self, event: str) -> list[int]:
        """Return the versions of all events of a kind, in order."""
        return [said["version"] for said in self._all({"event": event})]

    def end(self, send: signal.Signals | None = None) -> int:
        """Wait for the end, which a signal may bring about, and return the exit code."""
        if send is not None:
            self._process.send_signal(send)
        code = self._process.wait(PATIENCE_SECONDS)
        self._reader.join()
        return code

    def close(self) -> None:
        self.end(signal.SIGKILL)

    def _all(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return [said for said in self.said if wanted.items() <= said.items()]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self.said.append(json.loads(line))
                    self._changed.notify_all()


class Federation:
    """One federation; everything in it is stopped at the end of the test."""

    def __init__(self, url: str, name: str, folder: Path, threads: ThreadPoolExecutor) -> None:
        self.url, self.name, self.folder = url, name, folder
        self._common: dict[str, Any] = {
            "federation": name,
            "broker": (url,),
            "task": TASK,
            "device": "cpu",
            "reconnect_seconds": 0.5,
        }
        self._threads = threads
        self._services: list[Service] = []
        self._foreign: list[Foreign] = []

    def coordinator(self, **options: Any) -> Service:
        given = {"out": self.folder / "out", "lr": 0.1, "threads": 1}
        settings = CoordinatorSettings(**self._common, **(given | options))
        self._services.append(Service(serve_coordinator, settings, self._threads))
        return self._services[-1]

    def participant(self, **options: Any) -> Service:
        settings = ParticipantSettings(**self._common, id="ours", progress_seconds=0.5, **options)
        self._services.append(Service(serve_participant, settings, self._threads))
        return self._services[-1]

    def foreign(self, *flags: str, name: str = "js", index: int = 0, num: int = 1) -> Foreign:
        share = ("--id", name, "--index", str(index), "--num", str(num))
        self._foreign.append(
            Foreign(self.url, self.name, self.folder / name, *share, *flags),
        )
        return self._foreign[-1]

    def rounds(self) -> list[dict[str, Any]]:
        """Return what the history holds of each round."""
        lines = (self.folder / "out" / "history.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["event"] == "round"]

    def model(self) -> dict[str, Tensor]:
        return load_file(self.folder / "out" / "model.safetensors")

    def close(self) -> None:
        for service in self._services:
            service.stop("the test is over")
        for foreign in self._foreign:
            foreign.close()


def result(coordinator: Service) -> Any:
    return coordinator.result.result(PATIENCE_SECONDS)


def kept(foreign: Foreign) -> Decoded:
    """Return the last update as the coordinator reads it."""
    whole = memoryview(bytearray((foreign.state / "update.bin").read_bytes()))
    return decode(whole, kind="Update", limits=ReaderLimits(max_bytes=1 << 20))
