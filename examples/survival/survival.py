"""Survival after breast cancer in six regions: a linear Cox model on Fed-TCGA-BRCA."""

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold import Task, TaskError

NUM_FEATURES = 39


class Survival(Task):
    """Participant i is region i; the folder of `brca.csv` and `split.csv` is `--data`."""

    def network(self) -> nn.Module:
        """Return 39 coefficients and a bias."""
        return nn.Linear(NUM_FEATURES, 1)

    def train_data(self) -> TensorDataset:
        """Return the patients of a region."""
        return self._patients(f"train_{self.partition_index}")

    def test_data(self) -> TensorDataset:
        """Return the test patients of all regions."""
        return self._patients("test")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log of Cox's partial likelihood within a batch, its mean.

        Args:
            outputs: [n, 1], log of the hazard.
            targets: [n, 2], whether a death was seen, and days.
        """
        died, days = targets.unbind(dim=1)
        order = days.argsort(descending=True, stable=True)
        scores = outputs.squeeze(1)[order]
        return ((scores.logcumsumexp(dim=0) - scores) * died[order]).mean()

    def evaluate(self, network: nn.Module, data: Any) -> dict[str, float]:
        """Return the concordance index as `accuracy`, over all pairs whose order is known."""
        features, targets = data.tensors
        with torch.no_grad():
            scores = network(features).squeeze(1)
        return {"accuracy": concordance(scores, targets)}

    def _patients(self, fold: str) -> TensorDataset:
        if self.data_dir is None:
            raise TaskError("name the folder of brca.csv and split.csv with --data")
        rows = {row["pid"]: row for row in _rows(self.data_dir / "brca.csv")}
        chosen = [
            [float(value) for name, value in rows[row["pid"]].items() if name != "pid"]
            for row in _rows(self.data_dir / "split.csv")
            if row["fold2"].startswith(fold)
        ]
        table = torch.tensor(chosen)
        return TensorDataset(table[:, :NUM_FEATURES], table[:, NUM_FEATURES:])


def concordance(scores: Tensor, targets: Tensor) -> float:
    """Return the share of comparable pairs in which who died first has the higher hazard.

    Args:
        scores: [n], log of the hazard; of equal ones each counts half.
        targets: [n, 2], whether a death was seen, and days.
    """
    died, days = targets.unbind(dim=1)
    earlier = (days[:, None] < days[None, :]) & (died[:, None] > 0)
    higher = scores[:, None] - scores[None, :]
    right = (higher > 0).double() + 0.5 * (higher == 0).double()
    return float(right[earlier].mean())


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
