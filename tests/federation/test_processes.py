"""Facts about services as real processes: killed, stopped, and left to train for long."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fanfold.coordinator.persistence.history import read_history
from fanfold.learning import Client, TrainingPlan, load_task, seeded
from fanfold.schemas.tensor_codec import parameters_sha256

ROUND_FIELDS = (
    *("round", "version", "updates", "examples", "loss", "accuracy"),
    *("bytes_down", "bytes_up", "seconds"),
)
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_participant_killed_in_mid_round_does_not_hang_the_run(live: Any) -> None:
    """The round closes at the deadline with the quorum; who comes back takes part again."""
    coordinator = live.coordinator(
        "Tiny", rounds=10_000, min_participants=2, deadline_seconds=4.0, quorum=1
    )
    live.participant("Tiny", 0, 2)
    flags = ["--id=p1", "--partition-index=1", "--num-partitions=2", "--progress-seconds=0.5"]
    victim = live.process("participant", "Slow", *flags, SLOW_SECONDS="600")
    victim.wait_for("version_received")
    victim.kill()
    (first, *_) = coordinator.wait_for("round_closed")
    assert (first["updates"], first["examples"]) == (1, 5)
    assert first["seconds"] >= 4.0
    coordinator.wait_for("participant_silent")

    again = live.process("participant", "Slow", *flags)
    received = again.wait_for("version_received")
    assert received["version"] >= 1
    again.wait_for("update_sent")
    coordinator.wait_until(lambda: coordinator.all("round_closed")[-1]["updates"] == 2)
    coordinator.stop("seen enough")
    coordinator.result.result(60)
    records = read_history(live.out / "history.jsonl")
    made_by = [
        {update["participant"] for update in record["updates"]}
        for record in records
        if record["event"] == "round"
    ]
    assert made_by[0] == {"p0"}
    assert {"p0", "p1"} in made_by


@pytest.mark.slow
def test_a_training_that_cannot_be_stopped_does_not_keep_the_process(live: Any) -> None:
    """After the grace time, and the few seconds that the end of a batch gets, it says goodbye."""
    coordinator = live.coordinator("Tiny", rounds=1)
    unstoppable = live.process("participant", "Unstoppable", "--id=p0", "--grace-seconds=0.5")
    unstoppable.wait_for("version_received")
    code, stderr = unstoppable.terminate()
    assert (code, stderr) == (0, "")
    (left,) = coordinator.wait_for("participant_left")
    assert left["reason"] == "SIGTERM"
    coordinator.stop("seen enough")
    coordinator.result.result(60)


@pytest.mark.slow
def test_training_for_three_heartbeats_keeps_its_connection(live: Any) -> None:
    """The work thread trains, the I/O threads keep the beat: nothing is sent twice."""
    flags = ["--id=p0", "--heartbeat-seconds=5"]
    participant = live.process("participant", "Slow", *flags, SLOW_SECONDS="16")
    coordinator = live.coordinator("Tiny", rounds=1)
    outcome = coordinator.result.result(90)
    assert outcome.is_finished
    code, stderr = participant.terminate()
    assert code == 0
    assert "connection lost" not in stderr
    assert [each["event"] for each in participant.said].count("version_received") == 1


@pytest.mark.slow
def test_sigterm_ends_a_coordinator_in_good_order_and_it_goes_on(live: Any) -> None:
    """Exit code 1, as the run is not finished; the next start ends it with the undisturbed hash."""
    live.participant("Tiny")
    undisturbed = live.coordinator("Tiny", rounds=40, out=live.out / "one").result.result(90)
    flags = ["--rounds=40", "--lr=0.1", f"--out={live.out}"]
    first = live.process("coordinator", "Tiny", *flags)
    first.wait_for("round_closed")
    code, stderr = first.terminate()
    assert code == 1, stderr
    second = live.process("coordinator", "Tiny", *flags)
    code, stderr = second.end()
    assert code == 0, stderr
    assert second.said[-1]["event"] == "run_finished"
    assert second.said[-1]["parameters_sha256"] == undisturbed.parameters_sha256
    started = [each for each in second.said if each["event"] == "run_started"]
    assert started[0]["epoch"] == 2


@pytest.mark.slow
def test_an_evaluation_that_cannot_be_stopped_does_not_keep_the_coordinator(live: Any) -> None:
    """The rounds went on beside it; the next start goes on from what was committed."""
    participant = live.participant("Tiny")
    flags = [f"--out={live.out}"]
    first = live.process("coordinator", "UnstoppableEvaluation", "--rounds=10000", *flags)
    participant.wait_for("update_sent", times=3)
    code, stderr = first.terminate()
    assert code == 1, stderr
    second = live.process("coordinator", "Tiny", "--rounds=10000", *flags)
    resumed = second.wait_for("run_resumed")
    assert resumed["version"] >= 2
    second.terminate()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_whole_federation_on_this_machine_is_the_loop_in_memory(
    broker_url: str, federation: str, tmp_path: Path
) -> None:
    """`fanfold local` trains the digits to the hash of a plain loop, with the library's seeds."""
    command = [sys.executable, "-m", "fanfold", "local", "--json", "--rounds=2", "--participants=2"]
    flags = [f"--out={tmp_path}", f"--federation={federation}", "--device=cpu", "--threads=1"]
    ended = subprocess.run(
        [*command, *flags],
        cwd=ROOT,
        env=os.environ | {"FANFOLD_BROKER_URL": broker_url},
        check=True,
        capture_output=True,
        text=True,
        timeout=170,
    )
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    closed = [event for event in events if event["event"] == "round_closed"]
    assert [event["round"] for event in closed] == [1, 2]
    assert closed[0].keys() == {"event", "time", *ROUND_FIELDS, "metrics"}
    assert events[-1].keys() == {
        "event",
        "time",
        "rounds",
        "accuracy",
        "model",
        "parameters_sha256",
    }

    digits = load_task("digits")
    with seeded(0):
        model = {name: x.clone() for name, x in digits().network().state_dict().items()}
    tasks = [digits(partition_index=index, num_partitions=2) for index in range(2)]
    clients = {
        f"participant-{index}": Client(f"participant-{index}", task.train_data(), task=task)
        for index, task in enumerate(tasks)
    }
    plan = TrainingPlan(threads=1)
    for record in read_history(tmp_path / "history.jsonl"):
        if record["event"] != "round":
            continue
        total = {name: torch.zeros_like(x).double() for name, x in model.items()}
        for update in record["updates"]:
            client = clients[update["participant"]]
            client.network.load_state_dict(model)
            client.train({}, plan=plan, base_version=update["base_version"])
            for name, x in client.network.state_dict().items():
                total[name] += (x - model[name]).double() * update["num_examples"]
        examples = sum(update["num_examples"] for update in record["updates"])
        model = {name: (x.double() + total[name] / examples).float() for name, x in model.items()}
    assert events[-1]["parameters_sha256"] == parameters_sha256(model)
    assert parameters_sha256(load_file(events[-1]["model"])) == parameters_sha256(model)
