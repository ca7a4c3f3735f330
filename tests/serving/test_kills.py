"""Several runs at once, on the same participants, while everything is killed again and again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kills_report import Kills
from nodes import BrokerNode
from safetensors.torch import load_file

from benchmarks.results import machine
from fanfold.schemas.tensor_codec import parameters_sha256
from tests.serving.served import ROOT, ServedFederation

KILLS = int(os.environ.get("KILLS", "30"))
"""`make service KILLS=6` is a short version."""
REPORT = os.environ.get("SERVICE_REPORT")
"""A file for what happened, such as docs/service.md."""
TASK = "tests.federation.tiny_tasks:Slow"
PARTICIPANTS = 4
RUNS = {
    "plain": ("--lr=0.02",),
    "averaged": ("--lr=0.1", "--epochs=2", "--server-optimizer=sgd:lr=0.7,momentum=0.5"),
    "proximal": ("--lr=0.05", "--epochs=3", "--proximal-mu=0.1", "--momentum=0"),
}
SAME = (
    f"--task={TASK}",
    f"--rounds={3 * KILLS}",
    f"--min-participants={PARTICIPANTS}",
    "--encoding=fixed",  # sums that do not depend on the order in which updates arrive
)


def alone(served: ServedFederation, run: str) -> str:
    """Return the hash of a run that has a federation of its own, and is left in peace."""
    out = served.folder / f"alone-{run}"
    names = [f"--broker={served.url}", f"--federation={served.name}-{run}", f"--out={out}"]
    command = ["local", f"--participants={PARTICIPANTS}", *SAME, *RUNS[run], *names, "--device=cpu"]
    subprocess.run([sys.executable, "-m", "fanfold", *command], cwd=ROOT, check=True)
    return parameters_sha256(load_file(out / "model.safetensors"))


def versions(served: ServedFederation) -> int:
    """How many rounds of all runs are closed."""
    paths = served.registry.glob("runs/*/history.jsonl")
    return sum(path.read_text().count('"event":"round",') for path in paths)


def kill(served: ServedFederation, node: BrokerNode, victim: str) -> str | None:
    """Kill one process, and start it again if nobody else does; return what it was.

    None for the coordinator of a run that has none at the moment.
    """
    if victim == "broker":
        node.kill()
        node.resume()
        return "the broker"
    if victim in RUNS:
        coordinators = served.coordinators()
        if victim not in coordinators:
            return None
        os.kill(coordinators[victim], signal.SIGKILL)
        return "a coordinator"
    served.kill(victim)
    served.again(victim)
    return "the service" if victim == "serve" else "a participant"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_runs_that_share_participants_are_each_what_they_are_alone_whatever_is_killed(
    served: Any, broker_node: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Service, coordinators, participants and the broker; what is pulled has the run's hash."""
    monkeypatch.setenv("SLOW_SECONDS", "0.1")
    served.serve(f"--parallel-runs={len(RUNS)}")
    names = [f"participant-{index}" for index in range(PARTICIPANTS)]
    for index, name in enumerate(names):
        served.participant(index, PARTICIPANTS, f"--allow={TASK}", name=name)
    for run, flags in RUNS.items():
        served.ask("submit", f"--name={run}", *SAME, *flags)
    draw = random.Random(0)  # which, not whether
    kills = Kills(machine(), PARTICIPANTS, 3 * KILLS)
    began = time.monotonic()
    victims = ["serve", *names, *RUNS, *["serve", *RUNS], "broker"]
    while kills.victims.total() < KILLS:
        before = versions(served)
        served.wait_for(lambda before=before: versions(served) > before)
        assert any(served.record(run)["state"] == "open" for run in RUNS)
        if killed := kill(served, broker_node, draw.choice(victims)):
            kills.victims[killed] += 1
    kills.seconds, kills.versions = time.monotonic() - began, versions(served)
    for run in RUNS:
        finished = served.wait_for_state(run, "finished", "failed")
        out = served.folder / f"{run}.safetensors"
        served.ask("pull", run, f"--out={out}")
        hashes = {finished["parameters_sha256"], parameters_sha256(load_file(out))}
        assert hashes == {alone(served, run)}, run
        updates = [each["updates"] for each in served.state(run)["participants"]]
        assert updates == [3 * KILLS] * PARTICIPANTS
        kills.hashes[run] = finished["parameters_sha256"]
    if REPORT:
        Path(REPORT).write_text(kills.page(RUNS))
