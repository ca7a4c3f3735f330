"""Facts about the way from a version to an update: deterministic, and only what is shared."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold.learning import Task, TaskError
from fanfold.participant.trainer import TrainedUpdate, Trainer
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import TrainingPlan

PLAN = TrainingPlan(epochs=2, batch_size=4, lr=0.1, threads=1)


class Classes(Task):
    """Two layers and a batch normalisation between them."""

    num_examples = 12

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 2))

    def train_data(self) -> TensorDataset:
        inputs = torch.linspace(-1, 1, 3 * self.num_examples).reshape(self.num_examples, 3)
        return TensorDataset(inputs, (inputs.sum(1) > 0).long())


class FrozenHead(Classes):
    def network(self) -> nn.Module:
        network = super().network()
        network[3].requires_grad_(requires_grad=False)
        return network


class OwnHead(Classes):
    shared = ("!3.*",)


class Validated(Classes):
    def validation_data(self) -> TensorDataset:
        return self.train_data()


class Nobody(Classes):
    num_examples = 0


def version_of(task: Task) -> dict[str, Tensor]:
    torch.manual_seed(7)
    network = task.network()
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def train(task: Task, base: Mapping[str, Tensor], *, version: int = 0) -> TrainedUpdate:
    return Trainer(task, "ann").train(base, version=version, plan=PLAN)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_training_gives_the_same_bits() -> None:
    """In another process, after other versions, whatever was drawn before."""
    base = version_of(Classes())
    first = train(Classes(), base)
    torch.rand(17)
    trainer = Trainer(Classes(), "ann")
    trainer.train({name: tensor * 2 for name, tensor in base.items()}, version=5, plan=PLAN)
    again = trainer.train(base, version=0, plan=PLAN)
    assert same(first.tensors, again.tensors)


def test_an_update_may_take_the_memory_of_an_earlier_one() -> None:
    """The same bits lie there; a tensor of another form is left alone."""
    base = version_of(Classes())
    expected = train(Classes(), base, version=1)
    trainer = Trainer(Classes(), "ann")
    first = trainer.train(base, version=0, plan=PLAN)
    room = {**first.tensors, "3.bias": torch.full((7,), 7.0)}
    second = trainer.train(base, version=1, plan=PLAN, room=room)
    assert same(second.tensors, expected.tensors)
    deltas = {name for name, kind in second.kinds.items() if kind == "delta"}
    there = {name for name in deltas if second.tensors[name].data_ptr() == room[name].data_ptr()}
    assert there == deltas - {"3.bias"}
    assert torch.equal(room["3.bias"], torch.full((7,), 7.0))


def test_another_version_or_participant_draws_otherwise() -> None:
    """The seed follows from the run's, the version and the participant."""
    base = version_of(Classes())
    first = train(Classes(), base)
    assert not same(first.tensors, train(Classes(), base, version=1).tensors)
    other = Trainer(Classes(), "bob").train(base, version=0, plan=PLAN)
    assert not same(first.tensors, other.tensors)


def test_parameters_travel_as_deltas_and_buffers_as_values() -> None:
    """A delta is after minus before; counting batches keeps its dtype."""
    task = Classes()
    base = version_of(task)
    trainer = Trainer(task, "ann")
    update = trainer.train(base, version=0, plan=PLAN)
    after = trainer.network.state_dict()
    assert update.kinds["0.weight"] == "delta"
    assert torch.equal(update.tensors["0.weight"], after["0.weight"] - base["0.weight"])
    assert update.kinds["1.running_var"] == update.kinds["1.num_batches_tracked"] == "value"
    assert torch.equal(update.tensors["1.running_var"], after["1.running_var"])
    assert update.tensors["1.num_batches_tracked"].dtype == torch.int64
    assert update.tensors["1.num_batches_tracked"].item() == 6
    assert (update.num_examples, len(update.history)) == (12, 2)


def test_a_frozen_layer_is_not_sent() -> None:
    """That is a partial update."""
    update = train(FrozenHead(), version_of(FrozenHead()))
    assert "3.weight" not in update.tensors
    assert "0.weight" in update.tensors


def test_private_tensors_stay_and_go_on_from_where_they_were() -> None:
    """No version overwrites them, and no update holds them."""
    base = {name: x for name, x in version_of(OwnHead()).items() if not name.startswith("3.")}
    trainer = Trainer(OwnHead(), "ann", seed=1)
    start = {name: tensor.clone() for name, tensor in trainer.private_tensors.items()}
    update = trainer.train(base, version=0, plan=PLAN)
    assert start.keys() == {"3.weight", "3.bias"}
    assert start.keys().isdisjoint(update.tensors)
    left = {name: tensor.clone() for name, tensor in trainer.private_tensors.items()}
    assert not same(start, left)
    trainer.train(base, version=1, plan=TrainingPlan(epochs=0))
    assert same(left, trainer.private_tensors)


def test_private_tensors_begin_as_the_seed_says() -> None:
    """A participant that is started again without its state begins the same way."""
    one, same_seed = Trainer(OwnHead(), "ann", seed=1), Trainer(OwnHead(), "ann", seed=1)
    assert same(one.private_tensors, same_seed.private_tensors)
    assert not same(one.private_tensors, Trainer(OwnHead(), "bob", seed=1).private_tensors)


def test_what_a_version_is_worth_here_is_measured_before_the_training() -> None:
    """On the participant's own validation data, if it has any."""
    base = version_of(Validated())
    untrained = Trainer(Validated(), "ann").train(base, version=0, plan=TrainingPlan(epochs=0))
    metrics = train(Validated(), base).metrics
    assert metrics == untrained.metrics
    assert metrics.keys() == {"loss", "accuracy"}
    assert train(Classes(), base).metrics == {}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"0.weight": torch.zeros(9, 9)}, r"0\.weight has the shape \(4, 3\), not \(9, 9\)"),
        ({"extra": torch.zeros(1)}, "extra is not among"),
        ({"0.bias": None}, r"0\.bias did not come with the version"),
    ],
)
def test_another_network_is_refused_by_name(changed: dict[str, Any], sentence: str) -> None:
    """And nothing has changed."""
    trainer = Trainer(Classes(), "ann")
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    base = version_of(Classes()) | changed
    base = {name: tensor for name, tensor in base.items() if tensor is not None}
    with pytest.raises(InvalidInputError, match=f"trains another network.*{sentence}"):
        trainer.train(base, version=0, plan=PLAN)
    if "0.bias" in base:
        assert same(before, dict(trainer.network.state_dict()))


def test_no_data_is_a_mistake_of_the_user() -> None:
    """Told before anybody connects."""
    with pytest.raises(TaskError, match="has no examples"):
        Trainer(Nobody(), "ann")


def test_training_begins_half_of_what_is_owed_beyond_the_version() -> None:
    """What top-k holds back is not trained over and over; metrics are the version's own."""
    base = version_of(Validated())
    owed = {"0.weight": torch.linspace(-1, 1, 12).reshape(4, 3)}
    ahead = base | {"0.weight": base["0.weight"] + 0.5 * owed["0.weight"]}
    ours = Trainer(Validated(), "ann").train(base, version=3, plan=PLAN, owed=owed)
    same = Trainer(Validated(), "ann").train(ahead, version=3, plan=PLAN)
    assert all(torch.equal(ours.tensors[name], same.tensors[name]) for name in base)
    assert ours.metrics == train(Validated(), base, version=3).metrics != same.metrics
