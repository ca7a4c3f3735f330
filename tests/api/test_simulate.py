"""What a script or notebook gets from `fanfold.simulate` and `fanfold.compare`."""

import inspect
import os
import signal
import threading
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import fanfold
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import named_tensors
from fanfold.local.settings import LocalSettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_codec import parameters_sha256
from fanfold.simulation.settings import SimulationSettings

INPUTS = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
TARGETS = (INPUTS.sum(1) > 0).long()


class Sides(fanfold.Task):
    """Which side of a line a point lies on."""

    def network(self) -> nn.Module:
        return nn.Linear(2, 2)

    def train_data(self) -> Dataset[Any]:
        part = self.part_of(TARGETS.tolist())
        return TensorDataset(INPUTS[part], TARGETS[part])

    def test_data(self) -> Dataset[Any]:
        return TensorDataset(INPUTS, TARGETS)


class OwnBias(Sides):
    """With a tensor that stays at home."""

    shared = ("weight",)


OWN = {"task", "progress", "out"}
"""Parameters of the functions themselves."""
OPTIONS: dict[str, Any] = {"participants": 3, "rounds": 4, "speeds": "constant", "progress": False}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_has_history_participants_models_and_digest() -> None:
    run = fanfold.simulate(Sides, **OPTIONS)

    assert [closed.version for closed in run.history] == [1, 2, 3, 4]
    assert run.history[-1].accuracy is not None
    given = [(each.updates, each.examples) for each in run.participants.values()]
    assert given == [(4, 14), (4, 13), (4, 13)]
    network = run.model(nn.Linear(2, 2))
    assert not network.training
    assert parameters_sha256(named_tensors(network)) == run.parameters_sha256
    best = run.best
    assert best is not None
    assert best.accuracy == max(closed.accuracy or 0 for closed in run.history)
    assert repr(run).startswith(f"<Run in {run.folder}, 4 rounds, loss ")


def test_a_class_that_no_import_finds_is_simulated() -> None:
    """As those of a notebook, or of a function: each participant makes one of its own."""

    class Local(Sides):
        pass

    run = fanfold.simulate(Local, **OPTIONS)
    assert run.parameters_sha256 == fanfold.simulate(Sides, **OPTIONS).parameters_sha256
    assert run.folder == Path("runs/local-1/sync")


def test_two_runs_never_share_a_folder_that_nobody_named() -> None:
    first, second = (fanfold.simulate(Sides, lr=lr, **OPTIONS) for lr in (0.1, 0.2))
    assert (first.folder, second.folder) == (Path("runs/sides-1/sync"), Path("runs/sides-2/sync"))
    assert first.parameters_sha256 != second.parameters_sha256


def test_a_folder_with_a_run_is_opened_and_one_without_is_none(folder: Path) -> None:
    run = fanfold.simulate(Sides, out="here", **OPTIONS)
    again = fanfold.Run("here/sync")
    assert again.parameters_sha256 == run.parameters_sha256
    assert list(again.history) == list(run.history)
    with pytest.raises(fanfold.FanfoldError, match=r"no run in here: it holds no history\.jsonl"):
        fanfold.Run("here")


def test_the_history_is_a_table_in_pandas() -> None:
    table = fanfold.simulate(Sides, **OPTIONS).history.to_pandas()
    assert list(table.index) == [1, 2, 3, 4]
    assert {"accuracy", "loss", "updates", "bytes_up", "seconds"} <= set(table.columns)
    assert str(table["time"].dtype).startswith("datetime64")


def test_a_run_and_a_comparison_are_drawn() -> None:
    run = fanfold.simulate(Sides, **OPTIONS)
    for metric, label in ((None, "accuracy"), ("loss", "loss")):
        picture = run.plot(metric)
        assert picture.axes[0].get_ylabel() == label
        assert picture._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(fanfold.FanfoldError, match=r"no round of the run in .* has speed"):
        run.plot("speed")


def test_a_comparison_has_a_run_for_each_mode_and_seed() -> None:
    runs = fanfold.compare(Sides, **OPTIONS, mode=["sync", "async"], seeds="0-1")
    assert list(runs) == ["sync/seed-0", "sync/seed-1", "async/seed-0", "async/seed-1"]
    assert len({run.parameters_sha256 for run in runs.values()}) == 4
    assert len(runs.plot().axes[0].lines) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"server_optimiser": "adam"}, r"^there is no option 'server_optimiser'; did you mean 's"),
        ({"lr": -1}, "^lr -1 must be greater than or equal to 0$"),
        ({"lr": "fast", "rounds": "x"}, "lr 'fast' must be .*; rounds 'x' must be"),
        ({"data": "nowhere"}, "^the data folder 'nowhere' is not a folder$"),
        ({"mode": "all"}, "there would be 4, of several modes or seeds; use compare$"),
        ({"min_participants": 9}, "^min_participants 9 would wait for ever: .* participants 3$"),
        ({"task": "nonsense"}, "^there is no built-in task 'nonsense'"),
        ({"task": Sides()}, "^give the class Sides itself, and not an object of it"),
        ({"task": nn.Linear}, "is no task: it does not derive from fanfold.Task"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_folder(
    options: dict[str, Any], sentence: str, folder: Path
) -> None:
    """It names keywords as they are written."""
    with pytest.raises(fanfold.FanfoldError, match=sentence):
        fanfold.simulate(**{"task": Sides} | OPTIONS | options)
    assert not list(folder.rglob("model.safetensors"))


@pytest.mark.parametrize(
    ("function", "models"),
    [
        (fanfold.run, (LocalSettings,)),
        (fanfold.simulate, (RoundSettings, SimulationSettings)),
        (fanfold.compare, (RoundSettings, SimulationSettings)),
    ],
)
def test_every_option_of_the_command_line_is_a_keyword_with_its_sentence(
    function: Any, models: tuple[Any, ...]
) -> None:
    words = inspect.signature(function).parameters
    for model in models:
        assert model.model_fields.keys() <= words.keys()
    told = function.__doc__
    assert all(f"\n    {name}: " in told for name in words if name not in OWN)
    options = told.partition("Options:")[2]
    assert "--lr" not in options


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    fanfold.simulate(Sides, **OPTIONS)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


class Interrupted(Sides):
    """Presses Ctrl-C while it trains for the second round."""

    trainings = 0

    def fit(self, network: Any, data: Any, plan: Any) -> Any:
        type(self).trainings += 1
        if type(self).trainings == OPTIONS["participants"] + 1:
            before = signal.getsignal(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            for thread in threading.enumerate():  # the one that passes the signal on
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join(10)
            assert signal.getsignal(signal.SIGINT) is not before
        return super().fit(network, data, plan)


def test_ctrl_c_stops_in_order_and_keeps_what_was_trained() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        KeyboardInterrupt, match="stopped before the last round; what there is lies"
    ):
        fanfold.simulate(Interrupted, out="stopped", **OPTIONS | {"rounds": 50})
    assert signal.getsignal(signal.SIGINT) is before
    run = fanfold.Run("stopped/sync")
    assert len(run.history) < 3
    assert run.model(nn.Linear(2, 2)) is not None


def test_a_file_that_does_not_fit_changes_nothing(folder: Path) -> None:
    run = fanfold.simulate(OwnBias, **OPTIONS | {"rounds": 1})
    network = nn.Linear(2, 2)
    before = network.bias.detach().clone()
    with pytest.raises(
        InvalidInputError, match="it lacks bias; where those stayed private, strict"
    ):
        run.model(network)
    assert run.model(network, strict=False).bias.equal(before)
    with pytest.raises(fanfold.FanfoldError, match=r"weight has the shape \(2, 3\), not \(2, 2\)"):
        run.model(nn.Linear(3, 2), strict=False)
    with pytest.raises(fanfold.FanfoldError, match="there is no model in missing"):
        fanfold.load("missing", network)
    (folder / "torn.safetensors").write_bytes(b"\x10")
    with pytest.raises(fanfold.FanfoldError, match=r"torn\.safetensors is not a whole safetensors"):
        fanfold.load("torn.safetensors", network)


def test_without_matplotlib_or_pandas_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = fanfold.simulate(Sides, **OPTIONS | {"rounds": 1})
    for module in ("fanfold.simulation.plot", "fanfold.runs.history"):
        monkeypatch.setattr(f"{module}.find_spec", lambda _name: None)
    assert util.find_spec("matplotlib") is not None
    with pytest.raises(fanfold.FanfoldError, match=r"pip install -e '\.\[plot\]'"):
        run.plot()
    with pytest.raises(fanfold.FanfoldError, match="pip install pandas"):
        run.history.to_pandas()
