"""A small training that takes a given time, whatever else the machine does."""

import os
import time
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from fanfold.learning import TrainingPlan
from fanfold.learning.measures import Metrics
from fanfold.learning.registry import load_task

VARIABLE = "FANFOLD_BENCH_TRAINING_SECONDS"


class PaddedDigits(load_task("digits")):
    """The demo's digits with one hidden layer of 64; a training sleeps until its time is up."""

    def network(self) -> nn.Module:
        """Return a network of 50,890 parameters."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

    def fit(self, network: nn.Module, data: Dataset[Any], plan: TrainingPlan) -> list[Metrics]:
        """Train, and sleep until the time is up."""
        ends = time.monotonic() + float(os.environ.get(VARIABLE, "0"))
        history: list[Metrics] = super().fit(network, data, plan)
        time.sleep(max(0.0, ends - time.monotonic()))
        return history
