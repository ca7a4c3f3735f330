"""A small training that lasts as long as it is told to, whatever the machine is busy with."""

import os
import time
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from fanfold.learning import TrainingPlan
from fanfold.learning.measures import Metrics
from fanfold.learning.registry import load_task

VARIABLE = "FANFOLD_BENCH_TRAINING_SECONDS"


class PaddedDigits(load_task("digits")):  # type: ignore[misc]  # a class found at run time
    """The digits of the demo and one hidden layer of 64; a training waits until its time is up."""

    def network(self) -> nn.Module:
        """50,890 parameters."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

    def fit(self, network: nn.Module, data: Dataset[Any], plan: TrainingPlan) -> list[Metrics]:
        """Train, and then wait."""
        ends = time.monotonic() + float(os.environ.get(VARIABLE, "0"))
        history: list[Metrics] = super().fit(network, data, plan)
        time.sleep(max(0.0, ends - time.monotonic()))
        return history
