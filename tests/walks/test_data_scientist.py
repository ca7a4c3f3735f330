"""A data scientist's walk: from the README to a model of three hospitals' tables, and to its use.

Each hospital has a folder with a table of the breast cancer data, of different length. Columns come
as they are, from thousandths to thousands, for BatchNorm to scale. She writes the README's task for
them, checks it, trains it, reads the report, and predicts with PyTorch alone.
"""

import csv
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from tests.walks.commands import fanfold, of_name, python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOSPITALS = {"charite": 210, "uke": 72, "rwth": 120}
"""Patients of each, in the order of the data, whose last 167 nobody trains on."""

NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.BatchNorm1d(30), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
"""
TASK = '''
import csv

import torch
from sklearn.metrics import roc_auc_score
from torch.utils.data import TensorDataset

from fanfold import OverAll, Task, TaskError
from net import Net


class Tumours(Task):
    """Tells benign from malignant tumours; every hospital has its own folder."""

    def network(self):
        return Net()

    def train_data(self):
        if self.data_dir is None:
            raise TaskError("name the hospital's folder with --data")
        with (self.data_dir / "tumours.csv").open(newline="") as file:
            _, *rows = csv.reader(file)
        table = torch.tensor([[float(value) for value in row] for row in rows])
        return TensorDataset(table[:, :-1], table[:, -1].long())

    def test_data(self):  # for the coordinator, which has a folder of its own
        return self.train_data() if self.data_dir else None

    def evaluation_metrics(self):
        return {"auc": OverAll(lambda scores, kinds: roc_auc_score(kinds, scores.softmax(1)[:, 1]))}
'''
PREDICTION = """
import csv
import sys

sys.modules["fanfold"] = None  # no import of it succeeds

import torch
from net import Net
from safetensors.torch import load_file

network = Net()
network.load_state_dict(load_file("runs/tumours/model.safetensors"))
network.eval()
with open("data/held-out/tumours.csv", newline="") as file:
    _, *rows = csv.reader(file)
table = torch.tensor([[float(value) for value in row] for row in rows])
with torch.no_grad():
    for score in network(table[:, :-1]).softmax(1)[:, 1].tolist():
        print(score)
"""
FOLDERS = [flag for name in HOSPITALS for flag in ("--data", f"data/{name}")]
HELD_OUT = ("--test-data", "data/held-out")


def write_tables(folder: Path) -> list[int]:
    """Cut the data into the hospitals' tables and one that nobody trains on; return its labels."""
    data = load_breast_cancer()
    rows = [[*values, kind] for values, kind in zip(data.data, data.target, strict=True)]
    lengths = {**HOSPITALS, "held-out": len(rows) - sum(HOSPITALS.values())}
    begin = 0
    for name, length in lengths.items():
        (folder / "data" / name).mkdir(parents=True)
        with (folder / "data" / name / "tumours.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*data.feature_names, "benign"])
            table.writerows(rows[begin : begin + length])
        begin += length
    return [int(kind) for kind in data.target[-lengths["held-out"] :]]


class Walk:
    """Her folder after the run, and what was told of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels = write_tables(folder)
        (folder / "net.py").write_text(NET)
        (folder / "tumours.py").write_text(TASK)
        self.checked = fanfold(
            folder, "check", "--task", "tumours:Tumours", "--data", "data/charite"
        )
        flags = ["--rounds", "20", "--epochs", "3", "--metric", "auc:max", "--out", "runs/tumours"]
        self.told = fanfold(
            folder, "local", "--task", "tumours:Tumours", *FOLDERS, *HELD_OUT, *flags
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        return of_name(self.told, name)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return Walk(tmp_path_factory.mktemp("data-scientist"))


def test_the_check_knows_her_data_before_anything_runs(walk: Walk) -> None:
    (checked,) = [each for each in walk.checked if "held_out_examples" in each]
    assert checked["examples"] == HOSPITALS["charite"]


def test_every_round_counts_every_patient(walk: Walk) -> None:
    """Nobody is refused for the statistics of unscaled columns, in the first round or later."""
    closed = walk.events("round_closed")
    assert len(closed) == 20
    assert {(each["updates"], each["examples"]) for each in closed} == {
        (len(HOSPITALS), sum(HOSPITALS.values()))
    }
    assert {each for event in closed for each in event.get("refusals", {})} == set()


def test_the_model_is_good(walk: Walk) -> None:
    """AUC, her own metric, is told in every round, and decides which version is the best."""
    last = walk.events("round_closed")[-1]
    assert last["metrics"]["auc"] > 0.95


def test_the_run_can_be_repeated_from_her_folders(walk: Walk) -> None:
    """To the same parameters, bit for bit."""
    (replayed,) = of_name(
        fanfold(walk.folder, "replay", "--out", "runs/tumours", *FOLDERS), "replayed"
    )
    assert replayed["agrees"]


def test_it_predicts_in_plain_pytorch(walk: Walk) -> None:
    """Without Fanfold, and as well as the coordinator said."""
    (walk.folder / "predict.py").write_text(PREDICTION)
    scores = [float(line) for line in python(walk.folder, "predict.py")]
    auc = roc_auc_score(walk.labels, scores)
    assert auc > 0.95
    assert auc == pytest.approx(walk.events("round_closed")[-1]["metrics"]["auc"], abs=1e-6)


def test_the_report_names_her_hospitals(walk: Walk) -> None:
    fanfold(walk.folder, "report", "runs/tumours")
    page = (walk.folder / "runs" / "tumours" / "report.html").read_text()
    assert all(name in page for name in (*HOSPITALS, "auc"))
