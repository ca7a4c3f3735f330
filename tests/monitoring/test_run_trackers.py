"""Facts about runs in experiment trackers, read back from what the trackers wrote."""

import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
import wandb
from mlflow import MlflowClient
from wandb.proto import wandb_internal_pb2

from fanfold.cli.commands import main
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.monitoring.tracking import tracker as module
from fanfold.monitoring.tracking.sink import TrackedRun
from fanfold.monitoring.tracking.tracker import Tracker
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import SimulationStarted
from fanfold.schemas.events.coordinator import RoundClosed, RunFinished, RunStarted
from fanfold.schemas.events.event import Event

SETTINGS = {"lr": 0.1, "task": "digits"}


def started(run: str = "run-1", version: int = 0) -> RunStarted:
    return RunStarted("f", run, epoch=1, version=version, rounds=2, task="digits")


def closed(number: int, loss: float) -> RoundClosed:
    return RoundClosed(
        round=number,
        version=number,
        updates=4,
        examples=9,
        seconds=1.0,
        loss=loss,
        accuracy=None,
        bytes_down=5,
        bytes_up=6,
        metrics={"recall@5": 0.5},
    )


FINISHED = RunFinished(2, None, model="m", parameters_sha256="0f", reason="enough")


def tracked(spec: str, folder: Path, *events: Event) -> None:
    with Tracker([spec], folder, lambda _event: SETTINGS) as tracker:
        for event in events:
            tracker.hear(event)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Weights & Biases without a network and without anything of the developer's own."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()
    yield
    wandb.teardown()


def wandb_records(file: bytes) -> list[Any]:
    """Read wandb's file by the letter: 7 bytes, then LevelDB's log of blocks of 32 kB."""
    at, block, whole, found = 7, 32 << 10, b"", []
    while at < len(file):
        if block - at % block < 7:  # too little for a header: padding
            at += block - at % block
        _, length, kind = struct.unpack_from("<IHB", file, at)
        whole += file[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # a record that is whole, or its last part
            found.append(wandb_internal_pb2.Record.FromString(whole))
            whole = b""
    return found


def mlflow_runs(folder: Path) -> list[Any]:
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fanfold")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_mlflow_gets_settings_a_point_for_each_round_and_the_end(tmp_path: Path) -> None:
    tracked(f"mlflow:{tmp_path}", tmp_path, started(), closed(1, 0.5), closed(2, 0.25), FINISHED)
    (run,) = mlflow_runs(tmp_path)
    assert run.info.run_name == "run-1"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1", "task": "digits"}
    assert run.data.metrics["round/loss"] == 0.25
    assert run.data.metrics["metrics/recall_5"] == 0.5
    assert run.data.tags["fanfold.parameters_sha256"] == "0f"
    assert run.data.tags["fanfold.reason"] == "enough"
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    points = client.get_metric_history(run.info.run_id, "round/loss")
    assert [(point.step, point.value) for point in points] == [(1, 0.5), (2, 0.25)]


def test_a_run_that_is_resumed_goes_on_in_mlflow_and_a_simulation_begins_anew(
    tmp_path: Path,
) -> None:
    tracked(f"mlflow:{tmp_path}", tmp_path, started(), closed(1, 0.5))
    assert [run.info.status for run in mlflow_runs(tmp_path)] == ["KILLED"]
    tracked(f"mlflow:{tmp_path}", tmp_path, started(version=1), closed(2, 0.25), FINISHED)
    (run,) = mlflow_runs(tmp_path)
    assert (run.info.status, run.data.metrics["round/loss"]) == ("FINISHED", 0.25)
    again = SimulationStarted(
        run="run-1",
        mode="sync",
        version=0,
        rounds=1,
        task="digits",
        participants=2,
        speeds="constant",
        dropout=0.0,
    )
    tracked(f"mlflow:{tmp_path}", tmp_path, again, FINISHED)
    assert len(mlflow_runs(tmp_path)) == 2


@pytest.mark.usefixtures("offline")
def test_wandb_writes_files_that_can_be_uploaded_later(tmp_path: Path) -> None:
    tracked("wandb:scans", tmp_path, started(), closed(1, 0.5), closed(2, 0.25), FINISHED)
    wandb.teardown()  # its own process writes the file, and ends with ours otherwise
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    records = wandb_records(path.read_bytes())
    (begun,) = [each.run for each in records if each.HasField("run")]
    assert (begun.project, begun.run_id, begun.display_name) == ("scans", "run-1", "run-1")
    assert {item.key: item.value_json for item in begun.config.update}["lr"] == "0.1"
    points = [
        {item.nested_key[0] if item.nested_key else item.key: item.value_json for item in row}
        for row in (each.history.item for each in records if each.HasField("history"))
    ]
    assert [(each["_step"], each["round/loss"]) for each in points] == [("1", "0.5"), ("2", "0.25")]


@pytest.mark.usefixtures("offline")
def test_wandb_without_a_login_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    with pytest.raises(InvalidInputError, match="--track wandb finds nobody logged in: set WANDB_"):
        Tracker(["wandb"], tmp_path, lambda _event: {})


@pytest.mark.parametrize("spec", ["mlflow", "mlflow:", "wandb:", "neptune", ""])
def test_what_is_no_tracker_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="is no experiment tracker; use mlflow:FOLDER"):
        CoordinatorSettings(track=(spec,))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"--track mlflow:.*/file cannot be used"):
        Tracker([f"mlflow:{tmp_path / 'file'}"], tmp_path, lambda _event: {})


@pytest.mark.parametrize(("spec", "package"), [("mlflow:x", "mlflow"), ("wandb", "wandb")])
def test_without_the_extra_the_sentence_says_how_to_get_it(
    spec: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InvalidInputError, match=r"pip install -e '\.\[track\]'"):
        Tracker([spec], tmp_path, lambda _event: {})


class Sulking:
    """A tracker that fails, or hangs until it is let."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate, self.asked = gate, 0

    def begin(self, run: TrackedRun) -> None:
        self.asked += 1
        if self.gate is None:
            raise RuntimeError("no more room\nat line 9")
        self.gate.wait(20)

    def add(self, round_number: int, scalars: Mapping[str, float]) -> None:
        self.asked += 1

    def end(self, summary: Mapping[str, Any]) -> None:
        self.asked += 1

    def close(self) -> None:
        self.asked += 1


def with_sink(monkeypatch: pytest.MonkeyPatch, sink: Sulking, folder: Path) -> Tracker:
    monkeypatch.setattr(module, "_sink", lambda _spec, _folder: sink)
    return Tracker(["wandb"], folder, lambda _event: {})


def test_a_tracker_that_fails_is_told_once_and_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sulking()
    with structlog.testing.capture_logs() as logs, with_sink(monkeypatch, sink, tmp_path) as each:
        for event in (started(), closed(1, 0.5), FINISHED):
            each.hear(event)
    assert sink.asked == 1
    (told,) = logs
    assert (told["track"], told["reason"]) == ("wandb", "RuntimeError: no more room")


def test_a_tracker_that_hangs_delays_no_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is lost, and told at the end."""
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    gate = threading.Event()
    sink = Sulking(gate)
    with structlog.testing.capture_logs() as logs, with_sink(monkeypatch, sink, tmp_path) as each:
        each.hear(started())
        for number in range(1, 50):
            each.hear(closed(number, 0.5))
        gate.set()
    assert [told["event"] for told in logs] == ["not all was tracked: a tracker is too slow"]
    assert logs[0]["lost"] >= 45


def test_each_simulated_run_is_tracked_with_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--task=tests.simulation.test_simulation:Line", "--participants=2", "--rounds=3"]
    flags += ["--mode=sync", "--mode=async", "--seeds=4,5", f"--out={tmp_path}", "--no-plot"]
    monkeypatch.setattr("sys.argv", ["fanfold", "simulate", *flags, f"--track=mlflow:{tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    runs = {
        (run.data.params["mode"], run.data.params["seed"]): run.data.params["rounds"]
        for run in mlflow_runs(tmp_path)
        if run.info.status == "FINISHED"
    }
    assert runs == {
        ("sync", "4"): "3",
        ("sync", "5"): "3",
        ("async", "4"): "6",
        ("async", "5"): "6",
    }
