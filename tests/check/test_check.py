"""Facts about `fanfold check`: a task that can be trained gets a table, another one a sentence."""

import itertools
import json
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.check.check import check
from fanfold.check.settings import CheckSettings
from fanfold.cli.commands import main
from fanfold.learning import LearningError, task_sha256
from fanfold.schemas.errors import FanfoldError
from fanfold.schemas.events.commands import Checked
from tests.federation import any_batches, any_data, any_networks, any_tensors
from tests.federation.any_networks import Points
from tests.participant import test_frozen_part as frozen


class Mismatched(Points):
    """Whose network takes other inputs than the data give."""

    def network(self) -> nn.Module:
        return nn.Linear(5, 2)


class Broken(Points):
    """Whose data cannot be made."""

    def train_data(self) -> Any:
        raise KeyError("patients")


class Empty(Points):
    """Whose folder holds no examples."""

    def train_data(self) -> Any:
        return TensorDataset(torch.zeros(0, 4), torch.zeros(0))


class Unnumbered(Points):
    """Whose data has a length, and no examples by number."""

    def train_data(self) -> Any:
        return {"one": 1, "two": 2}


class ManyLosses(Points):
    """A loss for each example."""

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")


class NotANumber(Points):
    """Whose loss is the logarithm of something negative."""

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        return super().loss(outputs, targets) * torch.tensor(-1.0).log()


class Stuck(Points):
    """Waits for something that never comes."""

    def train_data(self) -> Any:
        threading.Event().wait()


class StuckInAnExample(Points):
    """Likewise, when its examples are read."""

    def collate(self, examples: list[Any]) -> Any:
        while True:
            examples.reverse()


class OddMetrics(Points):
    """Whose metric is a word."""

    def metrics(self, outputs: Any, targets: Any) -> Any:
        return {"verdict": "fine"}


class Demanding(Points):
    """That nobody but its author can make."""

    def __init__(self, hospital: str) -> None:
        super().__init__()


class Undecided(Points):
    """Whose network is another one every time."""

    sizes: ClassVar[Any] = itertools.count(3)

    def network(self) -> nn.Module:
        width = next(self.sizes)
        return nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2))


class Deaf(Points):
    """Trains in a way of its own, and never asks whether it should stop."""

    def fit(self, network: nn.Module, data: Any, plan: Any) -> list[dict[str, float]]:
        loss = self.loss(network(data.tensors[0]), data.tensors[1])
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(parameter.grad, alpha=plan.lr)
        return [{"loss": float(loss.detach())}]


class Unmeasured(Points):
    """Nobody measures it."""

    def test_data(self) -> None:
        return None


class Unused(Points):
    """With a layer that takes no part."""

    def network(self) -> nn.Module:
        network = super().network()
        network.add_module("spare", nn.Identity())
        network.get_submodule("spare").register_parameter("more", nn.Parameter(torch.ones(3)))
        return network


class OwnHead(Points):
    """With a head of one's own."""

    shared = ("!2.*",)


def path(task: type[Any]) -> str:
    return f"{task.__module__}:{task.__qualname__}"


def checked(task: type[Any], **options: Any) -> Checked:
    settings = CheckSettings(task=path(task), device="cpu", **options)
    return check(settings, say=lambda _event: None)


GOOD: list[tuple[type[Any], dict[str, int], str]] = [
    (any_networks.Points, {"trained": 58}, ""),
    (any_networks.Tied, {"trained": 16 + 4 + 10}, ""),
    (any_tensors.Complex, {"trained": 16}, ""),
    (any_networks.FrozenBody, {"trained": 18, "frozen": 40}, ""),
    (any_tensors.RawColumns, {"trained": 66, "buffers": 9}, "floating buffer: --dp-clip"),
    (any_tensors.Growing, {"trained": 10, "buffers": 1}, "it follows the data, so it stays here"),
    (any_tensors.Cached, {"trained": 10, "not persistent": 1}, ""),
    (any_networks.ExtraState, {"trained": 10}, "a module with extra state"),
    (any_batches.TextFirst, {"trained": 58}, ""),
    (any_data.Packed, {"trained": 89}, ""),
    (OwnHead, {"trained": 40, "private": 18}, "some tensors stay private"),
    (Deaf, {"trained": 58}, "never asks `execution.should_stop`"),
    (Unmeasured, {"trained": 58}, "nobody measures the model"),
    (Unused, {"trained": 61}, "spare.more is a parameter that 3 steps did not move"),
    (frozen.Unpredictable, {"trained": 22, "frozen": 4}, "0.weight is frozen, and travels"),
]


@pytest.mark.parametrize(("task", "values", "note"), GOOD, ids=lambda value: str(value)[-24:])
def test_a_good_task_is_told_what_becomes_of_its_tensors(
    task: type[Any], values: dict[str, int], note: str
) -> None:
    """And what might surprise: nothing else is noted."""
    report = checked(task)
    assert {group["name"]: group["values"] for group in report.groups} == values
    assert any(note in each for each in report.notes) or not note
    assert note or not report.notes
    assert report.bytes_down > 4 * values["trained"] < report.bytes_up
    assert report.seconds_per_step > 0
    assert report.memory_bytes > 1 << 20


BAD: list[tuple[type[Any], str]] = [
    (any_networks.Lazy, r"0\.weight has no shape yet"),
    (any_networks.AllFrozen, "no parameter that requires gradients"),
    (any_networks.CutOff, "the loss does not depend on any parameter"),
    (any_networks.NoNetwork, r"gives no torch\.nn\.Module but a list"),
    (any_networks.LocalHead, "two participants build different networks: weight, bias differ"),
    (any_data.Unpadded, "the examples do not make a batch"),
    (any_data.OneAlone, "batch normalisation cannot train on a single example"),
    (any_data.StringLabels, "no tensor but 24 values such as"),
    (any_data.NumbersByDefault, "the default loss needs scores of two classes or more"),
    (any_batches.OddDicts, "a batch is a dict with points, kind"),
    (any_data.Exhausted, "the dataset gave not a single batch"),
    (Empty, "has no examples or no length"),
    (Unnumbered, "training failed: KeyError: 0"),
    (ManyLosses, r"the loss of a batch has the shape \[24\], and must be a single number"),
    (NotANumber, "would refuse the update: non-finite values: in .0.weight"),
    (OddMetrics, "the metric verdict of a batch is a str, and must be a tensor"),
    (Demanding, "loading the task failed: TypeError: .* argument .data_dir"),
    (Undecided, "two participants build different networks: 0.weight"),
    (
        Mismatched,
        r"training failed: RuntimeError: mat1 and mat2 shapes cannot be .* \(24x4 and 5x2\)",
    ),
    (
        Broken,
        r"reading the data failed in train_data, test_check\.py line \d+: KeyError: 'pat",
    ),
]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(("task", "sentence"), BAD, ids=lambda value: str(value)[-24:])
def test_a_bad_task_gets_a_sentence(task: type[Any], sentence: str) -> None:
    """Whether it is refused, or its own code fails: then it says where."""
    with pytest.raises((LearningError, FanfoldError), match=sentence):
        checked(task)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (
            Stuck,
            r"reading the data hangs in train_data, test_check\.py line \d+: it took more than",
        ),
        (StuckInAnExample, r"training 3 steps hangs in collate, test_check\.py line \d+"),
    ],
)
def test_a_task_that_hangs_is_ended_where_it_hangs(task: type[Any], sentence: str) -> None:
    """And the option that allows more is named."""
    with pytest.raises(LearningError, match=f"{sentence}.*--limit-seconds"):
        checked(task, limit_seconds=2)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module:Task", "there is no module 'no_such_module'"),
        ("tests.check.test_check:Missing", "has no class .Missing"),
        ("tests.check.test_check:path", "is not a task: it does not derive from fanfold.Task"),
        ("nonsense", "there is no built-in task 'nonsense'"),
    ],
)
def test_a_task_that_is_not_there_gets_a_sentence(name: str, sentence: str) -> None:
    """Whichever part of its name is wrong."""
    with pytest.raises(LearningError, match=sentence):
        check(CheckSettings(task=name, device="cpu"), say=lambda _event: None)


def test_what_learns_nothing_is_noted() -> None:
    """A rate of zero moves nothing."""
    (note,) = checked(Points, lr=0.0).notes
    assert note.startswith("3 steps changed no parameter")


def test_an_encoding_makes_an_update_smaller() -> None:
    """As it would in a run."""
    assert checked(Points, encoding="float16").bytes_up < checked(Points).bytes_up


@pytest.mark.parametrize("flags", [["--json"], ["--log-format=json"], []])
def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """For people, or as one object for programs."""
    monkeypatch.setattr("sys.argv", ["fanfold", "check", f"--task={path(Points)}", *flags])
    monkeypatch.setattr("fanfold.cli.logs.set_up", lambda *_args, **_bound: None)
    with pytest.raises(SystemExit, match="0"):
        main()
    shown = capsys.readouterr().out
    if flags:
        *_, report = [json.loads(each) for each in shown.splitlines()]
        assert (report["event"], report["examples"]) == ("checked", any_networks.NUM_EXAMPLES)
    else:
        assert "seconds a step" in shown
        assert shown.strip().endswith("nothing to note: this task can be trained")


def test_the_hash_of_the_source_is_printed_with_the_option_that_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it does not cover is noted."""
    (tmp_path / "ward_networks.py").write_text("from tests.federation.any_networks import Points\n")
    (tmp_path / "ward_task.py").write_text(
        "from ward_networks import Points\n\n\nclass Ward(Points):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("sys.argv", ["fanfold", "check", "--task", "ward_task:Ward"])
    monkeypatch.setattr("fanfold.cli.logs.set_up", lambda *_args, **_bound: None)
    with pytest.raises(SystemExit, match="0"):
        main()
    told = " ".join(capsys.readouterr().out.split())
    assert f"--allow ward_task:Ward@sha256:{task_sha256('ward_task:Ward')} note:" in told
    assert "imports ward_networks.py too, which the hash of its source does not cover" in told
