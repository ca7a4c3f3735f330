"""Facts about versions as differences: everybody trains on the same bits, whatever fails."""

from pathlib import Path
from typing import Any

import pytest

from fanfold.api.round_rules import rounds_of
from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run
from tests.federation.hidden_tasks import MODULE

TASK = f"{MODULE}:Hidden"
GATED = f"{MODULE}:HiddenAndGated"
OPTIONS: dict[str, Any] = {"min_participants": 2, "encoding_down": "difference:int8", "threads": 1}


def simulated(
    folder: Path,
    down: str,
    rounds: int,
    *,
    participants: int = 2,
    mode: str = "sync",
    **more: str,
) -> str:
    """Return the hash of the same run's last model, simulated."""
    where = {"plot": False, "participants": participants, "out": folder, "device": "cpu"}
    settings = SimulationSettings.model_validate(where | {"mode": (mode,)})
    options = {"task": TASK, "rounds": str(rounds), "lr": "0.1", "encoding_down": down}
    results = run(
        settings,
        lambda mode: rounds_of(mode, settings, options | more),
        say=lambda _event: None,
        on_ready=lambda _stop: None,
    )
    return results[mode].parameters_sha256


def replayed(live: Any, num_partitions: int = 2) -> Any:
    settings = ReplaySettings(out=live.out, num_partitions=num_partitions)
    return replay(settings, say=lambda _event: None)


@pytest.mark.parametrize("encoding", ["difference:int8", "difference:topk:0.05+int8"])
def test_the_simulator_and_the_replay_come_to_the_same_bits(
    live: Any, tmp_path: Path, encoding: str
) -> None:
    """And to other ones than with whole versions; after the first round bytes are saved."""
    coordinator = live.coordinator(TASK, rounds=5, **(OPTIONS | {"encoding_down": encoding}))
    participants = [live.participant(TASK, index, 2) for index in range(2)]
    outcome = coordinator.result.result(90)
    assert outcome.is_finished
    assert not any(each.all("difference_not_applied") for each in participants)
    first, *later = [each["bytes_down"] for each in coordinator.all("round_closed")]
    assert max(later) < first / 3

    told = replayed(live)
    assert (told.agrees, told.parameters_sha256) == (True, outcome.parameters_sha256)
    assert simulated(tmp_path / "difference", encoding, 5) == outcome.parameters_sha256
    assert simulated(tmp_path / "whole", "float32", 5) != outcome.parameters_sha256


def test_a_late_joiner_is_sent_the_whole_version(live: Any) -> None:
    """And differences from then on, as the others."""
    coordinator = live.coordinator(TASK, rounds=100_000, **(OPTIONS | {"min_participants": 1}))
    live.participant(TASK, 0, 2)
    coordinator.wait_for("round_closed", times=2)
    late = live.participant(TASK, 1, 2)
    late.wait_for("update_sent", times=4)
    whole, *_, last = [each["bytes"] for each in late.all("version_received")]
    coordinator.wait_until(lambda: coordinator.all("round_closed")[-1]["updates"] == 2)
    late.wait_until(lambda: late.all("version_received")[-1]["bytes"] < whole / 3)
    assert last <= whole
    coordinator.stop("seen enough")
    coordinator.result.result(90)
    assert replayed(live).agrees


def test_who_was_started_again_asks_for_the_whole_version(live: Any, hidden_gate: Any) -> None:
    """It is counted with the version it answered before, and holds it no longer."""
    coordinator = live.coordinator(GATED, rounds=4, **OPTIONS)
    live.participant(GATED, 0, 2)
    first = live.participant(GATED, 1, 2)
    first.wait_for("update_sent")
    first.stop("started again")
    first.result.result(90)
    coordinator.wait_for("participant_left")
    again = live.participant(GATED, 1, 2)
    coordinator.wait_for("participant_joined", times=3)
    hidden_gate.set()
    outcome = coordinator.result.result(90)
    (lacking,) = again.all("difference_not_applied")
    assert lacking["version"] == 1
    assert "is not held here" in lacking["reason"]
    assert [each["version"] for each in again.all("update_sent")] == [1, 2, 3]
    assert outcome.is_finished
    told = replayed(live)
    assert (told.agrees, told.updates) == (True, 8)


@pytest.mark.slow
def test_a_coordinator_killed_again_and_again_goes_on_with_the_same_bits(
    live: Any, tmp_path: Path
) -> None:
    """What participants hold is in the checkpoint; a restart sends it whole."""
    rounds = 30
    flags = ["coordinator", f"--federation={live.name}", "--device=cpu", "--json"]
    flags += [f"--rounds={rounds}", "--lr=0.1", f"--out={live.out}", "--min-participants=2"]
    flags += ["--threads=1", "--encoding-down=difference:topk:0.05+int8", f"--task={TASK}"]
    for index in range(2):
        live.participant(TASK, index, 2)
    for number in (3, 4, 11, 20):
        coordinator = live.command(*flags)
        coordinator.wait_for("round_closed", round=number)
        coordinator.kill()
    last = live.command(*flags)
    code, stderr = last.end()
    assert code == 0, stderr
    told = replayed(live)
    assert told.agrees
    assert told.updates == 2 * rounds
    expected = simulated(tmp_path / "undisturbed", "difference:topk:0.05+int8", rounds)
    assert told.parameters_sha256 == expected
