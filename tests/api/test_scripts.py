"""Facts about `fanfold.run`, `fanfold.simulate` and what they return."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import fanfold
from tests.api.own_tasks import FEATURES, Sides


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fanfold.Run:
    folder = tmp_path_factory.mktemp("run")
    return fanfold.simulate(Sides, participants=5, rounds=4, progress=False, out=folder)


def test_a_task_defined_here_is_simulated(tmp_path: Path) -> None:
    """A class that nobody could import, as a notebook defines it."""

    class Mine(Sides):
        pass

    run = fanfold.simulate(Mine, participants=3, rounds=2, progress=False, out=tmp_path)
    assert [closed.version for closed in run.history] == [1, 2]
    assert run.history[-1].updates == 3


def test_a_run_tells_who_gave_what(run: fanfold.Run) -> None:
    """Updates, examples and staleness of every participant."""
    assert len(run.participants) == 5
    given = run.participants["participant-0"]
    assert (given.updates, given.examples, given.mean_staleness) == (4, 64, 0.0)


def test_the_model_is_the_last_version(run: fanfold.Run) -> None:
    """Its tensors are those of the file, and the network evaluates."""
    network = run.model(Sides().network())
    saved = load_file(run.folder / "model.safetensors")
    assert not network.training
    assert all(torch.equal(tensor, saved[name]) for name, tensor in network.state_dict().items())
    assert network(torch.zeros(3, FEATURES)).shape == (3, 2)


def test_the_best_version_is_the_round_with_the_best_accuracy(run: fanfold.Run) -> None:
    """And its model can be had."""
    assert run.best is not None
    assert run.best.accuracy == max(closed.accuracy or 0.0 for closed in run.history)
    run.best_model(Sides().network())


def test_equal_runs_have_equal_digests(run: fanfold.Run, tmp_path: Path) -> None:
    """And others have others."""
    for seed, is_equal in ((0, True), (1, False)):
        again = fanfold.simulate(
            Sides, participants=5, rounds=4, seed=seed, progress=False, out=tmp_path / str(seed)
        )
        assert (again.parameters_sha256 == run.parameters_sha256) is is_equal


def test_a_history_is_a_table_for_pandas(run: fanfold.Run) -> None:
    """A row for each round, a column for each metric."""
    table = run.history.to_pandas()
    assert list(table.index) == [1, 2, 3, 4]
    assert list(table["accuracy"]) == [closed.accuracy for closed in run.history]
    assert table["updates"].sum() == 20


def test_a_plot_is_a_figure_that_a_notebook_shows(run: fanfold.Run) -> None:
    """By default of the accuracy."""
    figure = run.plot()
    assert figure.axes[0].get_ylabel() == "accuracy"
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(fanfold.FanfoldError, match="has auc"):
        run.plot("auc")


def test_several_modes_are_compared(tmp_path: Path) -> None:
    """A run for each, and one plot."""
    runs = fanfold.compare(
        Sides, mode=["sync", "buffered"], participants=4, rounds=2, progress=False, out=tmp_path
    )
    assert list(runs) == ["sync", "buffered"]
    assert len(runs.plot().axes[0].lines) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"roundz": 3}, r"there is no option 'roundz'; did you mean 'rounds'\?"),
        ({"participants": 0}, "participants 0 must be greater than or equal to 1"),
        ({"mode": "all"}, "several modes or seeds; use compare"),
        ({"seeds": "0-2"}, "several modes or seeds; use compare"),
        ({"server_optimizer": "foo"}, "server_optimizer: server optimizer 'foo'"),
        ({"data": "/no/such/folder"}, "data"),
    ],
)
def test_a_mistake_is_one_sentence_in_keywords(
    options: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    """And never an exit of the interpreter."""
    with pytest.raises(fanfold.FanfoldError, match=sentence) as raised:
        fanfold.simulate(Sides, progress=False, out=tmp_path, **options)
    assert "--" not in str(raised.value)


def test_what_is_no_task_is_refused(tmp_path: Path) -> None:
    """Nor an object of one."""
    anything: Any = Sides()
    with pytest.raises(fanfold.FanfoldError, match="give the class Sides itself"):
        fanfold.simulate(anything, out=tmp_path)
    anything = nn.Linear
    with pytest.raises(fanfold.FanfoldError, match="does not derive from"):
        fanfold.simulate(anything, out=tmp_path)


def test_a_model_that_does_not_fit_changes_nothing(run: fanfold.Run, tmp_path: Path) -> None:
    """One sentence says which tensor, or which file."""
    network = nn.Linear(FEATURES + 1, 2)
    before = network.weight.clone()
    with pytest.raises(fanfold.FanfoldError, match="weight has the shape"):
        fanfold.load(run.folder, network)
    assert torch.equal(network.weight, before)
    with pytest.raises(fanfold.FanfoldError, match="it lacks extra"):
        fanfold.load(run.folder, _with_more())
    fanfold.load(run.folder, _with_more(), strict=False)
    with pytest.raises(fanfold.FanfoldError, match="there is no model in"):
        fanfold.load(tmp_path, network)
    with pytest.raises(fanfold.FanfoldError, match="there is no run in"):
        fanfold.Run(tmp_path)


def _with_more() -> nn.Module:
    network = Sides().network()
    network.register_parameter("extra", nn.Parameter(torch.zeros(1)))
    return network


def test_a_federation_runs_as_processes(tmp_path: Path) -> None:
    """From a script that defines the task itself; the run is that of `fanfold local`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import fanfold\n"
        "from tests.api.own_tasks import Sides\n\n\n"
        "class Mine(Sides):\n"
        "    pass\n\n\n"
        'if __name__ == "__main__":\n'
        "    run = fanfold.run(Mine, participants=2, rounds=2, progress=False)\n"
        "    print(len(run.history), sorted(run.participants), run.folder)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "['participant-0',", "'participant-1']", "runs/mine-1"]


def test_a_class_that_processes_cannot_import_is_refused() -> None:
    """With the way out."""

    class Mine(Sides):
        pass

    with pytest.raises(fanfold.FanfoldError, match="write the class into a file"):
        fanfold.run(Mine, participants=2)


def test_signatures_tell_the_options() -> None:
    """An editor completes them, and `help` explains them."""
    assert "server_optimizer" in str(fanfold.run.__doc__)
    assert "--" not in str(fanfold.simulate.__doc__).replace("--server-optimizer", "")
