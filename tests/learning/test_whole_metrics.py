"""Facts about metrics that are no mean over batches."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold.learning import Metrics, OverAll, Task, TaskError, TrainingPlan, WholeMetric


class Spread(Task):
    """Measures how far the outputs of an evaluation lie apart."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.spread = OverAll(lambda outputs, _targets: outputs.max() - outputs.min())

    def network(self) -> nn.Module:
        return nn.Identity()

    def train_data(self) -> TensorDataset:
        values = torch.arange(300.0)[:, None]
        return TensorDataset(values, values)

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        return (outputs - targets).abs().mean()

    def evaluation_metrics(self) -> Mapping[str, WholeMetric]:
        return {"spread": self.spread}


class Several(Spread):
    def evaluation_metrics(self) -> Mapping[str, WholeMetric]:
        return {"all": OverAll(lambda outputs, _: {"largest": outputs.max(), "n": len(outputs)})}


class NoNumber(Spread):
    def evaluation_metrics(self) -> Mapping[str, WholeMetric]:
        return {"all": OverAll(lambda outputs, _: outputs)}


class Trained(Spread):
    def network(self) -> nn.Module:
        return nn.Linear(1, 1)


def evaluated(task: Task) -> Metrics:
    return task.evaluate(task.network(), task.train_data())


def test_it_sees_all_outputs_of_an_evaluation() -> None:
    """Of three batches; twice, it begins anew."""
    task = Spread()
    assert evaluated(task) == {"loss": 0.0, "spread": 299.0}
    assert evaluated(task)["spread"] == 299.0


def test_one_metric_may_give_several_numbers() -> None:
    """By their own names, as a collection of torchmetrics does."""
    assert evaluated(Several()) == {"loss": 0.0, "largest": 299.0, "n": 300.0}


def test_what_is_no_number_is_refused_in_words() -> None:
    """A curve is no metric."""
    with pytest.raises(TaskError, match="the metric all gives a Tensor, and not a single number"):
        evaluated(NoNumber())


def test_training_shows_it_nothing() -> None:
    """What is kept for an evaluation costs a training no memory."""
    task = Trained()
    task.fit(task.network(), task.train_data(), TrainingPlan())
    with pytest.raises(TaskError, match="saw no outputs: a `process_batch` of your own calls"):
        task.spread.compute()
