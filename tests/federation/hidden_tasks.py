"""Tasks whose model is long enough for differences to be much shorter."""

import threading
from typing import Any, ClassVar

import torch
from torch import nn

from fanfold.learning import TrainingAbandoned, TrainingPlan
from tests.federation.tiny_tasks import Tiny

MODULE = "tests.federation.hidden_tasks"


class Hidden(Tiny):
    """The points of `Tiny`, and a hidden layer: differences are much shorter than versions."""

    def network(self) -> nn.Module:
        network = nn.Sequential(nn.Linear(2, 800), nn.Tanh(), nn.Linear(800, 2))
        with torch.no_grad():
            for parameter in network.parameters():
                values = torch.arange(parameter.numel(), dtype=torch.float32)
                parameter.copy_(torch.cos(values).reshape(parameter.shape) / 10)
        return network


class HiddenAndGated(Hidden):
    """The first participant waits for a gate before it trains."""

    gate: ClassVar[threading.Event] = threading.Event()

    def fit(self, network: nn.Module, data: Any, plan: TrainingPlan) -> list[dict[str, float]]:
        while self.partition_index == 0 and not self.gate.wait(0.02):
            if self.execution.should_stop is not None and self.execution.should_stop():
                raise TrainingAbandoned(0, 1)
        return super().fit(network, data, plan)
