"""Facts about frozen parameters: everybody has them from the task, and a digest says so."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.learning import Task, TaskError, seeded
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import GlobalParameters, TrainingPlan

PLAN = TrainingPlan(epochs=1, batch_size=4, lr=0.1, threads=1, seed=9)


class RandomBody(Task):
    """A frozen layer, drawn at random, and a head."""

    def network(self) -> nn.Module:
        network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        network[0].requires_grad_(requires_grad=False)
        return network

    def train_data(self) -> TensorDataset:
        inputs = torch.linspace(-1, 1, 36).reshape(12, 3)
        return TensorDataset(inputs, (inputs.sum(1) > 0).long())


class FromFile(RandomBody):
    """A frozen layer that everybody reads from a file."""

    value = 0.5

    def network(self) -> nn.Module:
        network = super().network()
        with torch.no_grad():
            for parameter in network[0].parameters():
                parameter.fill_(self.value)
        return network


class AnotherFile(FromFile):
    value = 0.25


class Unpredictable(RandomBody):
    """A frozen layer that no seed decides."""

    def network(self) -> nn.Module:
        network = super().network()
        with torch.no_grad():
            source = torch.Generator()
            source.seed()
            network[0].weight.normal_(generator=source)
        return network


class Thawing(FromFile):
    """Trains what its network has frozen."""

    def fit(self, network: nn.Module, data: Any, plan: Any) -> Any:
        network.requires_grad_()
        return super().fit(network, data, plan)


class Trainable(FromFile):
    def network(self) -> nn.Module:
        return super().network().requires_grad_()


class Everything(FromFile):
    def network(self) -> nn.Module:
        return super().network().requires_grad_(requires_grad=False)


def trained(
    theirs: Task, ours: Task, *, frozen: str | None = None
) -> tuple[Trainer, TrainedUpdate, dict[str, Tensor]]:
    """Train one task on version 0 of another; return the trainer, the update, and the version."""
    model = initial_model(theirs, PLAN.seed)
    trainer = Trainer(ours, "ann")
    digest = frozen or model.form.frozen_sha256
    update = trainer.train(model.tensors, version=0, plan=PLAN, frozen=digest)
    return trainer, update, model.form.whole(model.tensors)


@pytest.mark.parametrize("task", [RandomBody, FromFile])
def test_what_everybody_has_travels_neither_down_nor_up(task: type[Task]) -> None:
    """From a file or from the run's seed; and training is as if it had come."""
    trainer, update, whole = trained(task(), task())
    assert update.tensors.keys() == {"1.weight", "1.bias"}
    assert initial_model(task(), PLAN.seed).tensors.keys() == {"1.weight", "1.bias"}
    assert trainer.network.get_parameter("0.weight").equal(whole["0.weight"])
    as_if = Trainer(task(), "ann").train(whole, version=0, plan=PLAN)
    assert all(update.tensors[name].equal(as_if.tensors[name]) for name in update.tensors)


def test_what_no_seed_decides_travels_as_ever() -> None:
    """Only this one tensor: the other one is the same wherever it is built."""
    model = initial_model(Unpredictable(), PLAN.seed)
    assert model.form.frozen.keys() == {"0.bias"}
    assert "0.weight" in model.tensors


def test_what_a_file_of_initial_parameters_changes_travels(tmp_path: Any) -> None:
    """Nobody else has that file."""
    from safetensors.torch import save_file  # noqa: PLC0415 - here alone

    with seeded(1):
        save_file(RandomBody().network().state_dict(), tmp_path / "other.safetensors")
    model = initial_model(RandomBody(), PLAN.seed, tmp_path / "other.safetensors")
    assert not model.form.frozen
    assert "0.weight" in model.tensors


@pytest.mark.parametrize(
    ("theirs", "ours", "sentence"),
    [
        (FromFile, AnotherFile, "the frozen parameters of this participant's network .* are not"),
        (FromFile, Thawing, "the task's `fit` trains parameters that .* has frozen"),
        (FromFile, Trainable, r"0\.bias, 0\.weight did not come with the version, and this task"),
    ],
)
def test_what_is_not_the_same_is_refused(
    theirs: type[Task], ours: type[Task], sentence: str
) -> None:
    """Another file, a training that thaws, a task that does not freeze."""
    with pytest.raises(InvalidInputError, match=sentence):
        trained(theirs(), ours())


def test_a_network_of_which_nothing_is_trained_is_refused() -> None:
    """At the start, where it is built."""
    with pytest.raises(TaskError, match="no parameter that requires gradients: all are frozen"):
        initial_model(Everything(), 0)


def test_the_field_travels_only_where_it_says_something() -> None:
    """A version without frozen parameters has the bytes that it always had."""
    message = GlobalParameters(run="r", version=0, rounds=1, plan=PLAN)
    assert "frozen" not in message.model_dump()
    assert message.model_copy(update={"frozen": "0" * 64}).model_dump()["frozen"] == "0" * 64
