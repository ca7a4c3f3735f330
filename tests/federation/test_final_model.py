"""The end of a run: who looks afterwards sees it, and participants keep the model if it is sent."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fanfold.monitoring.status import formatting
from fanfold.monitoring.status.federation_status import FederationStatus
from fanfold.monitoring.status.settings import StatusSettings
from fanfold.monitoring.status.watch import watch
from fanfold.schemas.messages import RunFinished


@pytest.mark.parametrize(("task", "chunk_bytes"), [("Tiny", 4 << 20), ("Normalised", 1024)])
def test_participants_keep_the_last_model(
    live: Any, tmp_path: Path, task: str, chunk_bytes: int
) -> None:
    """The very tensors of model.safetensors; who has no folder for it says so."""
    folder = tmp_path / "state"
    coordinator = live.coordinator(
        task, rounds=2, min_participants=2, publish_final=True, chunk_bytes=chunk_bytes
    )
    keeps = live.participant(task, 0, 2, state_dir=folder)
    ignores = live.participant(task, 1, 2)
    outcome = coordinator.result.result(90)
    (kept,) = keeps.wait_for("final_model_kept")
    assert ignores.wait_for("final_model_ignored") == [{"run": kept["run"], "version": 2}]

    assert kept["model"] == str(folder / "final.safetensors")
    ours, theirs = load_file(outcome.model), load_file(kept["model"])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    (over,) = keeps.wait_for("run_over")
    assert over["accuracy"] == outcome.accuracy


def test_nobody_is_sent_the_last_model_who_was_not_promised_it(live: Any, tmp_path: Path) -> None:
    """By default it stays with the coordinator."""
    coordinator = live.coordinator("Tiny", rounds=1)
    participant = live.participant("Tiny", state_dir=tmp_path / "state")
    coordinator.result.result(90)
    participant.wait_for("run_over")
    assert not (tmp_path / "state" / "final.safetensors").exists()


def test_one_who_was_away_gets_the_last_model_later(live: Any, tmp_path: Path) -> None:
    """It waits in the participant's queue, when the coordinator has ended long since."""
    coordinator = live.coordinator("Tiny", rounds=2, publish_final=True, goal=1, quorum=1)
    away = live.participant("Tiny", 1, 2, state_dir=tmp_path / "state")
    away.wait_for("version_received")
    away.stop("a break")
    away.result.result(90)
    live.participant("Tiny", 0, 2)
    coordinator.result.result(90)

    back = live.participant("Tiny", 1, 2, state_dir=tmp_path / "state")
    back.wait_for("final_model_kept")


def looked_at(live: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `fanfold status` shows within two seconds, without the management API."""
    settings = StatusSettings(federation=live.name, broker=(live.url,), listen_seconds=2)
    watch(settings, json=True, repeat=False, on_ready=lambda _stop: None)
    lines = capsys.readouterr().out.splitlines()
    document: dict[str, Any] = json.loads([line for line in lines if line.startswith("{")][-1])
    return document


@pytest.mark.slow
def test_status_says_that_a_run_is_over(live: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With version and accuracy, to everybody who looks; until a coordinator starts again."""
    coordinator = live.coordinator("Tiny", rounds=2)
    participant = live.participant("Tiny")
    outcome = coordinator.result.result(90)
    for _ in range(2):
        found = looked_at(live, capsys)
        assert (found["version"], found["round"]) == (2, None)
        assert found["accuracy"] == outcome.accuracy
        assert found["ended"] == "after its last round"

    again = live.coordinator("Tiny", rounds=1_000_000)
    again.wait_for("run_started")
    participant.wait_for("version_received", times=3)
    assert looked_at(live, capsys)["ended"] is None


def test_the_end_stands_in_the_headline() -> None:
    """Of the table and of the lines."""
    status = FederationStatus("wards")
    status.take_end(RunFinished(run="1f", version=40, accuracy=0.9731))
    assert "run 1f is over with version 40 and accuracy 0.9731: after its last" in (
        formatting.headline(status)
    )
