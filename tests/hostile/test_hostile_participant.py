"""A participant who means harm does none to the others: `make hostile`.

The same federation of three trains with and without it, three times each. Its messages take
processor time from the others where cores are few, and so does the broker that carries them; what
is bounded is the duration as a whole. Memory, refusals and its own rate must be right in each run.
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

from coordinator.gatekeeper import MAX_ANSWERS, MAX_MALFORMED, MAX_NEWS, NOTE_SECONDS
from coordinator.refusals import Reason
from schemas.topology import Topology
from warren.broker_node import BrokerNode
from warren.enrolment import Enrolment
from warren.management import Management

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
    resident_bytes: list[int]
    """Of the coordinator, sampled while it ran."""
    num_lines: int
    """What the coordinator told people about mallory."""
    num_left: int
    """Messages in the results queue that nobody read."""
    mallory: dict[str, Any]


@pytest.fixture(scope="module")
def node() -> Iterator[BrokerNode]:
    with BrokerNode.start(management=True) as started:
        yield started


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, text=True, env=environment, **options)


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def train(node: BrokerNode, folder: Path, name: str, *, hostile: bool) -> Trained:
    """Run one federation in a vhost of its own."""
    node.create_vhost(name)
    management = Management(
        str(node.management_url).replace("//", f"//{node.user}:{node.password}@")
    )
    broker = f"amqp://127.0.0.1:{urlsplit(node.url).port}/{name}"
    enrolment = Enrolment(management, Topology(name), vhost=name, brokers=(broker,))
    honest = [f"honest-{number}" for number in range(HONEST)]
    files = {}
    for login in [*honest, "mallory", "chief"]:
        enroll = enrolment.enroll_coordinator if login == "chief" else enrolment.enroll_participant
        files[login] = folder / f"{name}-{login}.json"
        enroll(login).write(files[login])
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / f"{name}.log").open("w"))
        coordinator = spawn(
            *("-m", "warren", "coordinator", "--json", "--fresh"),
            *("--credentials", str(files["chief"]), "--rounds", str(ROUNDS)),
            *("--min-participants", str(HONEST), "--out", str(folder / name), "--threads", "1"),
            "--chunk-bytes=4096",  # lets uploads in chunks in, which only mallory makes here
            stdout=subprocess.PIPE,
            stderr=log,
        )
        participants = [
            spawn(
                *("-m", "warren", "participant", "--once", "--credentials", str(files[login])),
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
                process.wait()
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
                memory.append(resident_bytes(coordinator.pid))

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
    num_left = messages_in(Topology(out.name).results_queue, url)
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
    ledgers = 1 + (run.seconds + seconds) / NOTE_SECONDS
    assert run.num_lines <= ledgers * (MAX_MALFORMED + 2 * MAX_ANSWERS + MAX_NEWS)


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
    usual = statistics.median(max(run.resident_bytes) for run in calm)
    growth = max(max(run.resident_bytes) for run in disturbed) - usual
    sys.stdout.write(
        f"accuracy {accuracy:.4f} calm, {accuracy_disturbed:.4f} disturbed; "
        f"{seconds:.1f} s calm, {seconds_disturbed:.1f} s disturbed; "
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
    assert growth < 64e6
    assert seconds_disturbed <= 1.5 * seconds
