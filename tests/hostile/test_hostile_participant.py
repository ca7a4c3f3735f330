"""A participant who means harm does none to the others: `make hostile`.

The same federation of three trains with and without it, three times each. What is bounded is how
much longer that takes, with all that broker and coordinator do about its messages, but without the
processor time that it takes itself: in operation it has a machine of its own. Memory, refusals and
its own rate must be right in each run.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
from nodes import BrokerNode

from fanfold.access.credentials import Role
from fanfold.access.enrolment import Enrolment
from fanfold.access.management import ManagementClient
from fanfold.coordinator.admission.rate_limits import (
    MAX_ANSWERS,
    MAX_MALFORMED,
    MAX_NEWS,
    NOTE_SECONDS,
)
from fanfold.coordinator.aggregation.refusals import Reason
from fanfold.schemas.names import FederationNames

HONEST = 3
ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "10"))
RATE = 1000
REPEATS = int(os.environ.get("HOSTILE_REPEATS", "3"))
ROOT = Path(__file__).parent.parent.parent

EXPECTED = {
    Reason.MALFORMED,
    Reason.INCOMPATIBLE,
    Reason.NON_FINITE,
    Reason.TOO_LARGE,
    Reason.WRONG_SENDER,
    Reason.UNKNOWN_RUN,
    Reason.DUPLICATE,
    Reason.FLOOD,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Trained:
    seconds: float
    """From the first version to the last."""
    accuracy: float
    refused: Counter[str]
    peaks: list[int]
    """Peak RSS of the coordinator in bytes, read while it ran."""
    num_lines: int
    """What the coordinator told people about mallory."""
    num_left: int
    """Messages in the results queue that nobody read."""
    mallory: dict[str, Any]

    @property
    def seconds_without_its_load(self) -> float:
        """What it would have taken, had mallory not shared these cores."""
        share = self.mallory["cpu_seconds"] / self.mallory["seconds"] / len(os.sched_getaffinity(0))
        return self.seconds * (1 - share)


@pytest.fixture(scope="module")
def node() -> Iterator[BrokerNode]:
    with BrokerNode.start(management=True) as started:
        yield started


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, text=True, env=environment, **options)


def peak_bytes(pid: int) -> int:
    """The kernel's own peak: samples would miss what lasts for a moment, as evaluations do."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def train(node: BrokerNode, folder: Path, name: str, *, hostile: bool) -> Trained:
    """Run one federation in a vhost of its own."""
    node.create_vhost(name)
    management = ManagementClient(
        str(node.management_url).replace("//", f"//{node.user}:{node.password}@")
    )
    broker = f"amqp://127.0.0.1:{urlsplit(node.url).port}/{name}"
    enrolment = Enrolment(management, FederationNames(name), vhost=name, brokers=(broker,))
    honest = [f"honest-{number}" for number in range(HONEST)]
    files = {}
    for login in [*honest, "mallory", "chief"]:
        files[login] = folder / f"{name}-{login}.json"
        role: Role = "coordinator" if login == "chief" else "participant"
        enrolment.enroll(login, role).write(files[login])
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / f"{name}.log").open("w"))
        coordinator = spawn(
            *("-m", "fanfold", "coordinator", "--json", "--fresh"),
            *("--credentials", str(files["chief"]), "--rounds", str(ROUNDS)),
            *("--min-participants", str(HONEST), "--out", str(folder / name), "--threads", "1"),
            "--chunk-bytes=4096",  # lets uploads in chunks in, which only mallory makes here
            stdout=subprocess.PIPE,
            stderr=log,
        )
        participants = [
            spawn(
                *("-m", "fanfold", "participant", "--once", "--credentials", str(files[login])),
                *("--partition-index", str(number), "--num-partitions", str(HONEST)),
                stdout=log,
                stderr=log,
            )
            for number, login in enumerate(honest)
        ]
        mallory = None
        if hostile:
            mallory = spawn(
                *("tests/hostile/mallory.py", str(files["mallory"]), str(RATE)),
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        try:
            return watch(coordinator, mallory, folder / name, node.vhost_url(name))
        finally:
            for process in (coordinator, *participants, *([mallory] if mallory else [])):
                process.kill()
                process.communicate()  # closes what was read from
            for login in files:
                enrolment.revoke(login)
            node.delete_vhost(name)


def watch(
    coordinator: subprocess.Popen[str], mallory: subprocess.Popen[str] | None, out: Path, url: str
) -> Trained:
    """Read the coordinator's events to the end."""
    memory: list[int] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.2):
            with contextlib.suppress(OSError, ValueError, IndexError):
                memory.append(peak_bytes(coordinator.pid))

    watcher = threading.Thread(target=sample)
    watcher.start()
    first = last = 0.0
    outcome: dict[str, Any] = {}
    num_lines = 0
    assert coordinator.stdout is not None
    for line in coordinator.stdout:
        event = json.loads(line)
        if event["event"] == "round_closed":
            first, last = first or time.monotonic() - event["seconds"], time.monotonic()
        num_lines += "mallory" in (event.get("participant"), event.get("sender"))
        if event["event"] == "run_finished":
            outcome = event
    ended.set()
    watcher.join()
    assert coordinator.wait() == 0
    report: dict[str, Any] = {}
    if mallory is not None:
        mallory.terminate()
        printed, _ = mallory.communicate(timeout=30)
        report = json.loads(printed)
    num_left = messages_in(FederationNames(out.name).results_queue, url)
    refused: Counter[str] = Counter()
    for line in (out / "history.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "round":
            refused.update(record["refused"])
    return Trained(last - first, outcome["accuracy"], refused, memory, num_lines, num_left, report)


def messages_in(queue: str, url: str) -> int:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def check_one(run: Trained) -> None:
    """What must be right whenever mallory was there."""
    sent, seconds = run.mallory["sent"], run.mallory["seconds"]
    assert sent >= RATE * seconds / 2, "mallory was too slow to prove anything"
    assert set(run.refused) >= EXPECTED
    # Not in the history: what it sent after the last round, and the few that were looked at.
    assert run.refused.total() >= 0.9 * (sent - run.num_left) - RATE
    periods = 1 + (run.seconds + seconds) / NOTE_SECONDS
    assert run.num_lines <= periods * (MAX_MALFORMED + 2 * MAX_ANSWERS + MAX_NEWS)


def test_the_others_lose_neither_accuracy_nor_time(node: BrokerNode, tmp_path: Path) -> None:
    """Within 2 points and 1.5x, medians of three, memory flat, every refusal with its reason."""
    calm, disturbed = [], []
    for number in range(REPEATS):
        calm.append(train(node, tmp_path, f"calm-{number}", hostile=False))
        disturbed.append(train(node, tmp_path, f"hostile-{number}", hostile=True))
    accuracy, accuracy_disturbed = (
        statistics.median(run.accuracy for run in runs) for runs in (calm, disturbed)
    )
    seconds, seconds_disturbed = (
        statistics.median(run.seconds for run in runs) for runs in (calm, disturbed)
    )
    without_its_load = statistics.median(run.seconds_without_its_load for run in disturbed)
    usual = statistics.median(max(run.peaks) for run in calm)
    growth = max(max(run.peaks) for run in disturbed) - usual
    sys.stdout.write(
        f"accuracy {accuracy:.4f} calm, {accuracy_disturbed:.4f} disturbed; "
        f"{seconds:.1f} s calm, {seconds_disturbed:.1f} s disturbed, "
        f"{without_its_load:.1f} s without mallory's own load; "
        f"coordinator took {growth / 1e6:.1f} MB more at its peak than without mallory\n"
    )
    for run in disturbed:
        sys.stdout.write(
            f"mallory {run.mallory}, {run.num_lines} lines about it, {run.num_left} unread; "
            f"refused {dict(run.refused)}\n"
        )
    for run in disturbed:
        check_one(run)
    assert accuracy_disturbed >= accuracy - 0.02
    assert (
        growth < 64e6
    )  # on a machine that does nothing else; a coordinator without a core reads late
    assert without_its_load <= 1.5 * seconds
