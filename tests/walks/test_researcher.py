"""A researcher's walk: from the README to a plot with a band over five seeds, by her own rule.

Two of her nine participants send nonsense. She writes the median as an aggregation rule, simulates
it beside the mean, and takes the picture and the table of all rounds home. Only what the README,
docs/simulation.md and examples/custom_aggregator say is used, in an empty folder.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from tests.walks.commands import fanfold, of_name

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STUDY = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold import ByCoordinate, Digits, Task


class Noisy(Task):
    """Handwritten digits, of which two participants make nonsense."""

    def network(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    def train_data(self):
        images, labels = Digits().train_data().tensors
        mine = torch.tensor(self.part_of(labels.tolist()))
        return TensorDataset(images[mine], labels[mine])

    def test_data(self):
        return Digits().test_data()

    def fit(self, network, data, plan):
        history = super().fit(network, data, plan)
        if self.partition_index < 2:
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(1.0)
        return history


class Median(ByCoordinate):
    """The middle of the values of each coordinate."""

    has_weights = False
    least_updates = 3

    def combine(self, block, weights):
        ordered = block.sort(dim=0).values
        low, high = (len(block) - 1) // 2, len(block) // 2
        middle = (ordered[low] + ordered[high]) / 2
        used = ((block >= ordered[low]) & (block <= ordered[high])).sum(dim=1)
        return middle, used.double()
'''
COMMON = [
    *("--task", "study:Noisy", "--participants", "9", "--rounds", "8", "--lr", "0.1"),
    *("--epochs", "2", "--speeds", "lognormal:0.5", "--quorum", "9", "--bandwidth", "1Mbit:20Mbit"),
]
BAND = np.array([210, 228, 240])
"""The first line's blue with a fifth of its strength, on white."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Her folder, with her task and her rule, both checked and simulated with five seeds."""
    folder = tmp_path_factory.mktemp("researcher")
    (folder / "study.py").write_text(STUDY)
    (checked,) = [
        each
        for each in fanfold(folder, "check", "--task", "study:Noisy")
        if "held_out_examples" in each
    ]
    assert checked["held_out_examples"] == 360
    for name, rule in (("median", "study:Median"), ("mean", "mean")):
        out = f"runs/{name}"
        flags = [*COMMON, "--aggregator", rule, "--seeds", "0-4", "--out", out]
        events = fanfold(folder, "simulate", *flags)
        (folder / f"{name}.json").write_text(json.dumps(events))
    return folder


def events_of(study: Path, name: str, event: str) -> list[dict[str, Any]]:
    return of_name(json.loads((study / f"{name}.json").read_text()), event)


def test_her_rule_withstands_what_the_mean_does_not(study: Path) -> None:
    """The last line of each simulation says so, with the spread over five seeds."""
    rows = {}
    for name in ("median", "mean"):
        (compared,) = events_of(study, name, "compared")
        assert compared["metric"] == "accuracy"
        (rows[name],) = compared["runs"]
        assert rows[name]["seeds"] == 5
    assert rows["median"]["lowest"] > 0.75
    assert rows["mean"]["highest"] < 0.5
    assert 0 < rows["median"]["deviation"] < 0.1


def test_she_has_a_picture_with_a_band(study: Path) -> None:
    (written,) = events_of(study, "median", "plot_written")
    picture = study / written["plot"]
    assert picture.name == "accuracy.png"
    pixels = (image.imread(picture)[:, :, :3] * 255).round()
    is_band = np.abs(pixels - BAND).max(axis=2) <= 2
    assert is_band.sum() > 500


def test_her_rule_is_the_median_that_fanfold_has(study: Path) -> None:
    """The same parameters to the bit, of one seed."""
    flags = [
        *COMMON,
        "--aggregator",
        "median",
        "--seed",
        "3",
        "--out",
        "runs/built-in",
        "--no-plot",
    ]
    (theirs,) = of_name(fanfold(study, "simulate", *flags), "simulation_finished")
    hers = {
        each["seed"]: each["parameters_sha256"]
        for each in events_of(study, "median", "simulation_finished")
    }
    assert hers.keys() == {0, 1, 2, 3, 4}
    assert len(set(hers.values())) == 5
    assert hers[3] == theirs["parameters_sha256"]


def test_she_takes_one_table_of_all_rounds_home(study: Path) -> None:
    fanfold(study, "export", "runs/median", "--format", "csv", "--out", "rounds.csv")
    with (study / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["mode"], row["seed"]) for row in rows} == {
        ("sync", str(seed)) for seed in range(5)
    }
    assert len(rows) == 5 * 8
    assert all(float(row["accuracy"]) <= 1 for row in rows)
