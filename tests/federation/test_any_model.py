"""Facts about any network and any data, on the broker and in the simulator.

Each row learns, or a sentence says why not. Nothing hangs, ends in a traceback, or learns nothing.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from named_events import named
from safetensors.torch import load_file
from torch import Tensor

from fanfold.api.round_rules import rounds_of
from fanfold.learning import LearningError, build_network, named_parameters, seeded
from fanfold.schemas.errors import FanfoldError
from fanfold.simulation.settings import SimulationSettings
from fanfold.simulation.simulate import run
from tests.federation import (
    any_batches,
    any_data,
    any_mistakes,
    any_networks,
    any_tensors,
    any_tools,
)

SECONDS = 120


@dataclass(frozen=True)
class Row:
    """A task, how it is run, and what must come out."""

    task: type[Any]
    refusal: str = ""
    """What the sentence says, where it cannot be trained."""
    options: dict[str, Any] = field(default_factory=dict)
    folder: bool = False
    joins: bool = True
    """Whether a participant comes as far as the broker before it ends."""
    code: bool = False
    """Whether the sentence is of the task's own code, which nobody else is told."""
    loads: bool = True
    """Whether the model file loads into the task's own network as it is."""

    @property
    def path(self) -> str:
        return f"{self.task.__module__}:{self.task.__name__}"

    def __str__(self) -> str:
        return "-".join((self.task.__name__, *map(str, self.options.values())))


n, t, d, b = any_networks, any_tensors, any_data, any_batches
m, o = any_mistakes, any_tools
SAME_TASK = "the coordinator trains another network than this participant's task"
ROWS = [
    Row(n.Points),
    Row(n.Renaming),
    Row(n.Casting),
    Row(n.ExtraState, loads=False),
    Row(t.NotFinite),
    Row(t.Growing),
    Row(t.Cached),
    Row(t.RawColumns),
    Row(t.Sharing, loads=False),
    Row(n.Tied),
    Row(n.Compiled, loads=False),
    Row(n.DataParallel),
    Row(n.Checkpointed),
    Row(n.Parametrised),
    Row(o.ParametrisedByHooks),
    Row(o.Orthogonal),
    Row(o.Scripted),
    Row(o.Symbolic),
    Row(o.QuantisationAware),
    Row(o.QuantisedBody, loads=False),
    Row(n.Recurrent),
    Row(n.Attention),
    Row(n.OddNames),
    Row(n.OneAndTheSame),
    Row(n.Lazy, refusal=r"0\.weight has no shape yet; run one batch through the network first"),
    Row(n.RunOnce),
    Row(t.Complex),
    Row(t.InComplex128, loads=False),
    Row(t.Buffers),
    Row(t.Later),
    Row(t.SharedParameters, loads=False),
    Row(m.Late, refusal="scale came into the network while it was trained"),
    Row(m.SparseGraph, refusal="edges is sparse .*; .* register it with persistent=False"),
    Row(m.GraphOfEverybody),
    Row(m.WithoutValues, refusal=r"0\.weight has no values yet: it is on the meta device"),
    Row(t.Words),
    Row(t.Words, options={"proximal_mu": 0.1}),
    Row(t.Words, options={"optimizer": "adam"}),
    Row(t.InBfloat16),
    Row(t.InFloat16),
    Row(t.SomeInDouble),
    Row(n.LocalHead, refusal=rf"{SAME_TASK}: weight has the shape \(3, 4\), not \(2, 4\)"),
    Row(t.Dollars, options={"epochs": 20}),
    Row(n.FrozenBody),
    Row(n.AllFrozen, refusal="no parameter that requires gradients"),
    Row(n.CutOff, refusal="the loss does not depend on any parameter that is trained"),
    Row(n.NoNetwork, refusal=r"gives no torch\.nn\.Module but a list"),
    Row(n.NoTensors, refusal="the network has no parameters and no buffers"),
    Row(b.TextFirst),
    Row(b.OnlyTexts),
    Row(b.ByName),
    Row(b.Nested),
    Row(b.TupleOutputs),
    Row(b.DictOutputs),
    Row(b.OutputObjects),
    Row(b.OwnBatches),
    Row(d.Sentences),
    Row(d.Packed),
    Row(d.Unpadded, refusal="the examples do not make a batch .* write the task's `collate`"),
    Row(d.Weighted),
    Row(d.OwnBuckets),
    Row(d.Streamed),
    Row(d.Exhausted, refusal="the dataset gave not a single batch"),
    Row(d.FewerThanABatch),
    Row(d.OneLeftOver, options={"batch_size": 8}),
    Row(d.OneAlone, refusal="batch normalisation cannot train on a single example"),
    Row(d.StringLabels, refusal="the targets of a batch are no tensor but .* such as '(cat|dog)'"),
    Row(d.ByteLabels),
    Row(d.OneHot),
    Row(d.Unlabelled),
    Row(d.PlainList),
    Row(m.LoaderGiven, refusal="gives a DataLoader; let it give the dataset alone", joins=False),
    Row(
        m.ArraysGiven,
        refusal="gives a tuple of 2 arrays, and not a dataset of examples",
        joins=False,
    ),
    Row(m.InDouble, refusal="a batch and the network differ in dtype .*Double and Float"),
    Row(m.FromOne, refusal="a target is 2, and the network gives no score for it"),
    Row(m.Column, refusal=r"a batch has \[12, 1\] of int64; change what the dataset gives"),
    Row(m.NumbersForClasses, refusal=r"a batch has \[12\] of float64; .*mse_loss"),
    Row(
        m.Unreadable,
        refusal=r"in __getitem__, any_mistakes.py line \d+: OSError: scan 1",
        code=True,
    ),
    Row(m.PlainLoss, refusal="the loss of a batch is a float, and must be a tensor"),
    Row(m.NoMetrics, refusal="the metrics of a batch are a NoneType, and must be a dict"),
    Row(m.OddHistory, refusal="`fit` must return a list with one dict of metrics for each pass"),
    Row(m.Measures),
    Row(m.MeasuresPairs, refusal="`evaluate` must return a dict of numbers by name"),
    Row(m.MeasuresWords, refusal="the metric verdict that .* returns is a str, and must be"),
    Row(m.TextShared, refusal=r"`shared` is the text '0\.\*', and must be a tuple", joins=False),
    Row(m.WithoutSuper, refusal="`__init__` of WithoutSuper does not call", joins=False),
    Row(m.WithoutGradients),
    Row(d.NumbersByDefault, refusal="the default loss needs scores of two classes or more"),
    Row(b.OddDicts, refusal="a batch is a dict with points, kind"),
    Row(d.FromFolder, folder=True),
    Row(d.Ranked),
    Row(d.Torchmetrics),
]


@pytest.fixture(autouse=True)
def gradients() -> Iterator[None]:
    """Some task turns them off, which lasts as long as the thread."""
    yield
    torch.set_grad_enabled(mode=True)


def check_trained(row: Row, tensors: dict[str, Tensor]) -> None:
    """A model is not what it was at the start, and the task's own network takes it."""
    task = row.task()
    with seeded(0):
        parameters = named_parameters(build_network(task))
    assert [name for name, before in parameters.items() if not tensors[name].equal(before)]
    if row.loads:
        task.network().load_state_dict(tensors, strict=True)


def folder_of(row: Row, tmp_path: Path) -> dict[str, Any]:
    if not row.folder:
        return {}
    torch.save(any_networks.Points().all_data().tensors, tmp_path / "points.pt")
    return {"data": tmp_path}


def ends(row: Row, outcome: Callable[[], Any]) -> Any:
    """The outcome; None where it had to end in a sentence, and did."""
    if not row.refusal:
        return outcome()
    with pytest.raises((FanfoldError, LearningError), match=row.refusal):
        outcome()
    return None


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_learns_over_the_broker_or_says_why_not(live: Any, row: Row, tmp_path: Path) -> None:
    """With a coordinator and two participants; what cannot be ends one of them."""
    where = folder_of(row, tmp_path)
    federation: list[Any] = []

    def outcome() -> Any:
        federation.append(
            live.coordinator(row.path, rounds=2, min_participants=2, **where, **row.options)
        )
        federation.extend(live.participant(row.path, index, 2, **where) for index in range(2))
        waiting = [service.result for service in federation]
        if row.refusal:
            waiting = list(wait(waiting[1:], SECONDS, FIRST_EXCEPTION).done)
        return next(each.result(SECONDS) for each in waiting)

    run_result = ends(row, outcome)
    if federation and row.refusal and row.joins:  # one of them left: the coordinator knows why
        (left, *_) = federation[0].wait_for("participant_left")
        told = "it failed with [A-Za-z]+; its own log says more" if row.code else row.refusal
        assert re.search(told, left["reason"])
    if run_result is not None:
        assert run_result.rounds == 2
        assert not federation[0].all("model_unchanged")
        check_trained(row, load_file(run_result.model))


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_learns_in_the_simulator_or_says_why_not(row: Row, tmp_path: Path) -> None:
    """With two participants."""
    where = folder_of(row, tmp_path)
    settings = SimulationSettings.model_validate(
        {"plot": False, "participants": 2, "out": tmp_path / "out", "device": "cpu", **where}
    )
    options = {"task": row.path, "rounds": "2", "lr": "0.1"}
    options |= {name: str(value) for name, value in row.options.items()}

    def outcome() -> Any:
        return run(
            settings,
            lambda mode: rounds_of(mode, settings, options),
            say=lambda _event: None,
            on_ready=lambda _stop: None,
        )["sync"]

    if (result := ends(row, outcome)) is not None:
        assert result.rounds == 2
        check_trained(row, load_file(tmp_path / "out" / "sync" / "model.safetensors"))


def test_a_run_that_learned_nothing_says_so(live: Any) -> None:
    """After its first round, and at its end; counting batches is no learning."""
    coordinator = live.coordinator("Normalised", rounds=3, lr=0.0)
    live.participant("Normalised")
    coordinator.result.result(SECONDS)
    assert coordinator.all("model_unchanged") == [{"rounds": 1}, {"rounds": 3}]


def test_a_simulation_that_learned_nothing_says_so_too(tmp_path: Path) -> None:
    """In the same words."""
    settings = SimulationSettings.model_validate(
        {"plot": False, "participants": 2, "out": tmp_path, "device": "cpu"}
    )
    options = {"task": Row(any_networks.Points).path, "rounds": "3", "lr": "0"}
    said: list[tuple[str, dict[str, Any]]] = []
    run(
        settings,
        lambda mode: rounds_of(mode, settings, options),
        say=lambda event: said.append(named(event)),
        on_ready=lambda _stop: None,
    )
    told = [fields for event, fields in said if event == "model_unchanged"]
    assert told == [{"rounds": 1}, {"rounds": 3}]
