"""A training that is very short, so that disturbances take most of a run's time."""

import os
import time
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from fanfold.learning import TrainingAbandoned, TrainingPlan
from fanfold.learning.measures import Metrics
from fanfold.learning.registry import load_task

VARIABLE = "FANFOLD_TEST_TRAINING_SECONDS"
"""How long a training lasts at least, so that kills can happen during one."""
STEP_SECONDS = 0.02


class LinearDigits(load_task("digits")):
    """The digits of the demo with 7,850 parameters: eight chunks of 4 KiB."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def fit(self, network: nn.Module, data: Dataset[Any], plan: TrainingPlan) -> list[Metrics]:
        ends = time.monotonic() + float(os.environ.get(VARIABLE, "0.15"))
        while (left := ends - time.monotonic()) > 0:
            if self.execution.should_stop is not None and self.execution.should_stop():
                raise TrainingAbandoned(0, plan.steps or plan.epochs)
            time.sleep(min(left, STEP_SECONDS))
        history: list[Metrics] = super().fit(network, data, plan)
        return history


class PersonalDigits(LinearDigits):
    """The same with a last layer that stays private to each participant."""

    shared = ("1.*",)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Linear(10, 10))
