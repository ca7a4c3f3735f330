"""Facts about trust in the coordinator's own data."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.initial_model import global_tensors, initial_network
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.aggregation.root_update import RootTrainer
from fanfold.coordinator.aggregation.run_state import RunState
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.learning import Task
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import TrainingPlan
from tests.coordinator.aggregation.small_runs import publish, send

PLAN = TrainingPlan(lr=0.1, momentum=0.0, batch_size=4, seed=3)


class Slope(Task):
    """One weight, and data that ask for 2."""

    def network(self) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def train_data(self) -> TensorDataset:
        return TensorDataset(torch.ones(8, 1), torch.full((8, 1), 2.0))

    def test_data(self) -> TensorDataset | None:
        return self.train_data()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs, targets)


class Dataless(Slope):
    """Nothing is held out."""

    def test_data(self) -> None:
        return None


def test_the_root_update_is_a_training_of_the_version() -> None:
    """The same each time, and the version itself is not changed."""
    trainer = RootTrainer(Slope(), lambda _version: PLAN)
    tensors = {"weight": torch.zeros(1, 1)}
    first, second = (trainer(4, tensors)["weight"] for _ in range(2))
    assert 0 < first.item() < 2
    assert torch.equal(first, second)
    assert tensors["weight"].item() == 0


def test_what_points_elsewhere_than_the_coordinators_data_does_not_count() -> None:
    """What points the same way counts, with the length that these data give it."""
    task = Slope()
    tensors = global_tensors(task, initial_network(task, 3))
    tensors["weight"].zero_()
    root = RootTrainer(task, lambda _version: PLAN)(0, tensors)["weight"].item()
    run = RunState(
        run_id="run",
        tensors=tensors,
        kinds={"weight": "delta"},
        staleness=parse_staleness("constant"),
        optimizer=parse_optimizer("sgd"),
        limits=UpdateLimits(),
        aggregation=make_aggregation(
            AggregationSettings("fltrust"), root=lambda: RootTrainer(task, lambda _version: PLAN)
        ),
    )
    publish(run)
    for who, value in (("ann", 0.1), ("eve", -50.0), ("bob", 40.0)):
        send(run, who, {"weight": torch.full((1, 1), value)}, num_examples=10**6)
    shares = [each.share for each in run.close_round()]
    assert run.tensors["weight"].item() == pytest.approx(root, rel=1e-5)
    assert shares[1] == 0
    publish(run)
    before = run.tensors["weight"].item()
    send(run, "eve", {"weight": torch.full((1, 1), -1.0)}, base=1)
    run.close_round()
    assert run.tensors["weight"].item() == before  # nobody is trusted: nothing moves


def test_trust_takes_data() -> None:
    """Which is said before anything is sent."""
    with pytest.raises(InvalidInputError, match=r"the task has no held-out data for it"):
        RootTrainer(Dataless(), lambda _version: PLAN)
    with pytest.raises(InvalidInputError, match="has no data here to trust"):
        make_aggregation(AggregationSettings("fltrust"))
