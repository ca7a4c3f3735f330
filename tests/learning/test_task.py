import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

from fanfold.learning import Execution, Task, TaskError, TrainingAbandoned, TrainingPlan
from fanfold.schemas import messages


class Classes(Task):
    """Only what must be written."""

    def network(self) -> nn.Module:
        return nn.Linear(4, 2)

    def train_data(self) -> TensorDataset:
        inputs = torch.linspace(-1, 1, 80).reshape(20, 4)
        return TensorDataset(inputs, (inputs.sum(1) > 0).long())


class Regression(Classes):
    def train_data(self) -> TensorDataset:
        inputs = torch.linspace(-1, 1, 80).reshape(20, 4)
        return TensorDataset(inputs, inputs[:, :2] * 3)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return mse_loss(outputs, targets)


def test_the_plan_is_the_one_that_travels() -> None:
    """Field by field, with the same defaults: a received plan becomes one of these."""
    travelling = messages.TrainingPlan()
    unsaid = {"lora": None}
    assert dataclasses.asdict(TrainingPlan()) == travelling.model_dump() | unsaid
    assert TrainingPlan(**travelling.model_dump()) == TrainingPlan()


def test_two_methods_make_a_task() -> None:
    """The rest has defaults: cross-entropy, accuracy, all tensors shared, nothing held out."""
    task = Classes()
    network, data = task.network(), task.train_data()
    history = task.fit(network, data, TrainingPlan(epochs=5, batch_size=8))
    assert [sorted(means) for means in history] == [["accuracy", "loss"]] * 5
    assert history[-1]["loss"] < history[0]["loss"]
    assert task.evaluate(network, data)["loss"] < history[0]["loss"]
    assert task.test_data() is task.validation_data() is None
    assert list(task.shared) == ["*"]


def test_a_task_without_classes_has_no_accuracy() -> None:
    """Targets that are no integers cannot be guessed right."""
    task = Regression()
    network, data = task.network(), task.train_data()
    history = task.fit(network, data, TrainingPlan(epochs=3))
    assert [list(means) for means in history] == [["loss"]] * 3
    assert list(task.evaluate(network, data)) == ["loss"]


def test_metrics_of_the_users_own_are_means_over_examples() -> None:
    """Twenty examples in batches of eight: the last four weigh four twentieths."""

    class Counted(Regression):
        def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
            return {"first": targets[:, 0].mean()}

    task = Counted()
    data = task.train_data()
    history = task.fit(task.network(), data, TrainingPlan(batch_size=8))
    assert history[0]["first"] == pytest.approx(data.tensors[1][:, 0].mean().item())


def test_a_batch_may_be_a_dict() -> None:
    """Whoever overrides process_batch decides what a batch is."""

    class ByName(Classes):
        def train_data(self) -> list[dict[str, Tensor]]:
            return [{"x": torch.ones(4), "y": torch.tensor(1)}] * 9

        def process_batch(self, network: nn.Module, batch: dict[str, Tensor]) -> tuple:
            return self.loss(network(batch["x"]), batch["y"]), {}

    task = ByName()
    assert len(task.fit(task.network(), task.train_data(), TrainingPlan(batch_size=4))) == 1


def test_the_execution_reaches_the_training() -> None:
    """How the participant stops and watches a training whose signature it cannot change."""
    task = Classes()
    seen = []
    task.execution = Execution(
        should_stop=lambda: len(seen) == 2, on_step=lambda *arguments: seen.append(arguments)
    )
    with pytest.raises(TrainingAbandoned, match="after 2 of 5 steps"):
        task.fit(task.network(), task.train_data(), TrainingPlan(batch_size=4))
    assert [(step, steps) for step, steps, _ in seen] == [(1, 5), (2, 5)]


def test_the_plan_is_followed() -> None:
    """Steps, optimizer and learning rate come from the plan."""
    task = Classes()
    network = task.network()
    before = network.weight.clone()
    task.fit(network, task.train_data(), TrainingPlan(steps=3, lr=0.0, optimizer="Adam"))
    assert network.weight.equal(before)


@pytest.mark.parametrize(("index", "count"), [(1, 1), (-1, 2), (0, 0)])
def test_a_part_that_is_not_there_is_refused(index: int, count: int) -> None:
    """Parts count from 0."""
    with pytest.raises(TaskError, match=f"no part {index} of {count}"):
        Classes(partition_index=index, num_partitions=count)


@pytest.mark.parametrize("data_dir", ["", "/nowhere/at/all", __file__])
def test_a_data_folder_must_be_one(data_dir: str) -> None:
    """Empty text, a missing folder and a file are none."""
    with pytest.raises(TaskError, match=f"the data folder '{data_dir}' is not a folder"):
        Classes(data_dir=data_dir)


def test_a_wrong_partition_is_refused_at_once() -> None:
    """Not only when the data is read."""
    with pytest.raises(TaskError, match="'even' is no partition"):
        Classes(partition="even")
