"""Facts about the options of a simulation: each changes something, or is named as idle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from named_events import named
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.api.round_rules import rounds_of
from fanfold.coordinator.persistence.history import read_history
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import Task
from fanfold.schemas.errors import FanfoldError, InvalidInputError
from fanfold.schemas.events.event import Event
from fanfold.schemas.events.shared import OptionWithoutEffect
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run
from tests.federation.tiny_tasks import INPUTS, TARGETS


class Probe(Task):
    """Trained by the library; what it measures at the centre tells threads and data, too."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def train_data(self) -> TensorDataset:
        inputs = torch.cat([INPUTS * scale for scale in (1, 2, 3, 4, 5)])
        part = self.part_of(TARGETS.repeat(5).tolist())
        return TensorDataset(inputs[part], TARGETS.repeat(5)[part])

    def test_data(self) -> TensorDataset:
        return TensorDataset(INPUTS, TARGETS)

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        there = 0 if self.data_dir is None else len(list(self.data_dir.iterdir()))
        told = {"threads": float(torch.get_num_threads()), "files": float(there)}
        return super().evaluate(network, data) | told


class Other(Probe):
    """With another network."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@dataclass(frozen=True)
class Row:
    """Another value than the default, and what else is chosen, with and without it."""

    value: object
    beside: dict[str, object] = field(default_factory=dict)


SLOW: dict[str, object] = {"speeds": "every:2:3+lognormal:0.5", "mode": "async", "rounds": 8}
AWAY: dict[str, object] = {"dropout": 0.5, "example_seconds": 1, "rounds": 6, "mode": "buffered"}
ROUND_OPTIONS = {
    "epochs": Row(2),
    "steps": Row(3),
    "batch_size": Row(4),
    "lr": Row(0.2),
    "lr_schedule": Row("linear"),
    "lora": Row("alternate"),
    "momentum": Row(0.0, {"epochs": 2}),
    "optimizer": Row("adam"),
    "proximal_mu": Row(3.0),
    "seed": Row(7),
    "threads": Row(2),
    "task": Row(f"{__name__}:Other"),
    "rounds": Row(3),
    "mode": Row("buffered", {"goal": None, "speeds": "lognormal:1.0", "participants": 5}),
    "goal": Row(1, {"mode": "async", "goal": 2}),
    "quorum": Row(3, AWAY | {"goal": 3, "deadline_seconds": 5}),
    "deadline_seconds": Row(5, AWAY | {"goal": 3}),
    "min_participants": Row(2),
    "fraction": Row(0.4),
    "max_staleness": Row(0, SLOW),
    "staleness": Row("constant", SLOW),
    "server_optimizer": Row("adam:lr=0.1"),
    "aggregator": Row("median", {"quorum": 3}),
    "buckets": Row(2, {"aggregator": "median", "quorum": 5, "participants": 5}),
    "mixing": Row("nnm:1", {"aggregator": "median", "quorum": 3}),
    "normalize_steps": Row(value=True, beside={"batch_size": 2}),
    "clip": Row(0.01),
    "max_update_norm": Row(1e-6),
    "max_buffer_norm": Row(1e-6),
    "max_examples": Row(2),
    "metric": Row("loss", {"patience": 1, "rounds": 6}),
    "patience": Row(1, {"lr": 0.0, "rounds": 4}),
    "until": Row("loss:100"),
    "until_accuracy": Row(0.01),
    "evaluate_every": Row(2),
    "encoding": Row("float16"),
    "encoding_down": Row("float16"),
    "initial": Row("initial.safetensors"),
}
OWN_OPTIONS = {
    "participants": Row(4),
    "seeds": Row("7"),
    "compare": Row("updates"),
    "partition": Row("shards"),
    "data": Row("folder"),
    "speeds": Row("constant"),
    "dropout": Row(0.4),
    "bandwidth": Row(("1kB:2kB",)),
    "example_seconds": Row(3),
    "simulated_hours": Row(0.001),
    "evaluate_seconds": Row(1e6, {"rounds": 3}),
    "device": Row("cuda:99"),
}
SEEN_ELSEWHERE = {"mode", "out", "plot", "log_format", "track"}
"""The mode is among the rounds' options; the others say where and how it is written down."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and initial parameters."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        save_file(Probe().network().state_dict(), tmp_path / "initial.safetensors")
    return tmp_path


def simulated(out: Path, options: dict[str, object]) -> tuple[dict[str, Any], set[str]]:
    """Return what a simulation makes, and the options that it names as without effect."""
    texts: dict[str, Any] = {
        name: value if isinstance(value, tuple) else str(value)
        for name, value in options.items()
        if value is not None
    }
    own = {
        name: texts.pop(name)
        for name in list(texts)
        if name in SimulationSettings.model_fields and name != "mode"
    }
    mode: Any = texts.pop("mode", "sync")
    settings = SimulationSettings.model_validate(
        {"plot": False, "mode": (mode,), **own, "out": out}
    )
    idle: set[str] = set()
    made: dict[str, Any] = {}

    def hear(event: Event) -> None:
        if isinstance(event, OptionWithoutEffect):
            idle.add(event.option)

    try:
        (outcome,) = run(
            settings,
            lambda mode: rounds_of(mode, settings, texts),
            say=hear,
            on_ready=lambda _stop: None,
        ).values()
        made["hash"] = outcome.parameters_sha256
    except (FanfoldError, ValueError) as error:
        made["error"] = str(error)
    folder = out / mode / f"seed-{own['seeds']}" if "seeds" in own else out / mode
    history = folder / "history.jsonl"
    made["history"] = [
        {name: value for name, value in record.items() if name in TOLD}
        for record in (read_history(history) if history.exists() else [])
        if record["event"] != "started"
    ]
    return made, idle


TOLD = {"event", "updates", "refused", "examples", "accuracy", "seconds", "metrics", "loss"} | {
    "round",
    "bytes_up",
    "bytes_down",
}


@pytest.mark.parametrize("name", [*ROUND_OPTIONS, *OWN_OPTIONS])
def test_an_option_changes_something_or_is_named(name: str, folder: Path) -> None:
    """Compared with the same simulation without it, in what the history says and in the bits."""
    row = (ROUND_OPTIONS | OWN_OPTIONS)[name]
    base = {"task": f"{__name__}:Probe", "participants": 3, "rounds": 2, "batch_size": 8}
    beside = base | {"speeds": "lognormal:0.5"} | row.beside
    threads = torch.get_num_threads()
    try:
        without, _ = simulated(folder / "without", beside)
        with_it, named = simulated(folder / "with", beside | {name: row.value})
    finally:
        torch.set_num_threads(threads)
    assert "error" not in without
    is_named = f"--{name.replace('_', '-')}" in named
    assert (with_it != without) is not is_named


def test_no_option_is_left_out() -> None:
    """A new one gets a row here."""
    assert ROUND_OPTIONS.keys() == RoundSettings.model_fields.keys()
    assert OWN_OPTIONS.keys() == SimulationSettings.model_fields.keys() - SEEN_ELSEWHERE


def test_an_option_that_another_one_stands_for_is_named(folder: Path) -> None:
    _, named = simulated(
        folder / "out",
        {
            "task": f"{__name__}:Probe",
            "participants": 2,
            "rounds": 1,
            "evaluate_every": 2,
            "evaluate_seconds": 1,
            "min_participants": 2,
        },
    )
    assert named == {"--evaluate-every", "--min-participants"}


def test_what_is_refused_for_size_is_told_with_the_option_when_nobody_is_left(folder: Path) -> None:
    made, _ = simulated(
        folder / "out",
        {"task": f"{__name__}:Probe", "participants": 2, "rounds": 1, "max_update_norm": 1e-6},
    )
    assert "The last refusal: participant-" in made["error"]
    assert "the coordinator's --max-update-norm sets the bound" in made["error"]


@pytest.mark.parametrize(
    ("modes", "options", "sentence"),
    [
        (("sync",), {"min_participants": "3"}, "--min-participants 3 would wait for ever"),
        (("sync", "async"), {"goal": "2"}, "--goal is that of buffered"),
    ],
)
def test_what_could_only_be_ignored_is_refused(
    modes: Any, options: dict[str, str], sentence: str
) -> None:
    settings = SimulationSettings(mode=modes, participants=2)
    with pytest.raises(InvalidInputError, match=sentence):
        rounds_of(modes[0], settings, options)


def test_a_simulated_evaluation_that_fails_is_told_and_skipped(folder: Path) -> None:
    settings = SimulationSettings(participants=2, plot=False, out=folder / "out")
    said: list[tuple[str, dict[str, Any]]] = []
    outcomes = run(
        settings,
        lambda mode: rounds_of(mode, settings, {"task": f"{__name__}:Fails", "rounds": "2"}),
        say=lambda event: said.append(named(event)),
        on_ready=lambda _stop: None,
    )
    assert outcomes["sync"].is_finished
    failed = [fields for event, fields in said if event == "evaluation_failed"]
    assert failed == [{"version": each, "reason": "MemoryError: full"} for each in (1, 2)]


class Fails(Probe):
    """Whose evaluation finds no memory."""

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        raise MemoryError("full")


class Overfits(Probe):
    """Whose loss is best after three rounds."""

    evaluations = 0

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        self.evaluations += 1
        return {"loss": abs(self.evaluations - 3.0), "accuracy": 0.5}


def test_a_simulation_ends_when_patience_is_over_and_keeps_the_best_version(folder: Path) -> None:
    settings = SimulationSettings(participants=2, plot=False, out=folder / "out")
    options = {"task": f"{__name__}:Overfits", "rounds": "9", "metric": "loss", "patience": "2"}
    said: list[tuple[str, dict[str, Any]]] = []
    outcome = run(
        settings,
        lambda mode: rounds_of(mode, settings, options),
        say=lambda event: said.append(named(event)),
        on_ready=lambda _stop: None,
    )["sync"]
    reason = "loss was no better in 2 evaluations in a row (--patience 2); its best is 0, of "
    reason += "version 3"
    assert (outcome.is_finished, outcome.rounds, outcome.reason) == (True, 5, reason)
    (ends,) = (fields for event, fields in said if event == "ends_early")
    assert (ends["version"], ends["reason"]) == (5, reason)
    assert said[-1][1]["reason"] == reason
    (last,) = list(read_history(outcome.history))[-1:]
    assert (last["event"], last["reason"]) == ("ends_early", reason)
    with safe_open(outcome.history.with_name("best.safetensors"), "pt") as file:
        assert file.metadata()["version"] == "3"
