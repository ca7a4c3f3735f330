import logging

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.learning import (
    Client,
    FederatedNet,
    Task,
    TaskError,
    TensorsError,
    TrainingPlan,
    flatten,
)
from fanfold.learning.digits import Digits


@pytest.fixture(scope="module")
def data() -> TensorDataset:
    images, labels = Digits().train_data().tensors
    return TensorDataset(images[:64], labels[:64])


class Personal(Task):
    """A shared body and a private head, as in FedPer."""

    shared = ("0.*",)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))

    def train_data(self) -> TensorDataset:
        return TensorDataset(torch.eye(4), torch.tensor([0, 0, 1, 1]))


def test_a_client_trains_what_it_is_given(
    data: TensorDataset, caplog: pytest.LogCaptureFixture
) -> None:
    """The article's calls: id, size, parameters in, parameters out, loss and accuracy reported."""
    client = Client("alice", data)
    assert (client.get_client_id(), client.get_dataset_size()) == ("alice", 64)
    parameters = FederatedNet().get_parameters()
    with caplog.at_level(logging.INFO, logger="fanfold.learning.client"):
        trained = client.train(parameters)
    assert list(trained) == ["conv1", "conv2", "linear"]
    assert not trained["linear"]["weight"].cpu().equal(parameters["linear"]["weight"])
    assert set(client.history[-1]) == {"loss", "accuracy"}
    assert "participant=alice version=0" in caplog.text


def test_one_client_is_plain_training(data: TensorDataset) -> None:
    """The same version trained by the same participant is the same update, bit for bit."""
    parameters = FederatedNet().get_parameters()
    one = Client("alice", data).train(parameters, base_version=3)
    again = Client("alice", data).train(parameters, base_version=3)
    other = Client("bob", data).train(parameters, base_version=3)
    assert flatten(one)["linear.bias"].equal(flatten(again)["linear.bias"])
    assert not flatten(one)["linear.bias"].equal(flatten(other)["linear.bias"])


def test_versions_count_by_themselves(data: TensorDataset) -> None:
    """Every call is a new version, so that batches are not in the same order each time."""
    parameters = FederatedNet().get_parameters()
    client = Client("alice", data)
    first, second = client.train(parameters), client.train(parameters)
    third = client.train(parameters, base_version=0)
    assert not first["linear"]["bias"].equal(second["linear"]["bias"])
    assert first["linear"]["bias"].equal(third["linear"]["bias"])


def test_private_layers_stay_and_are_kept() -> None:
    """They are trained, not returned, and not reset by the next version."""
    task = Personal()
    client = Client("alice", task.train_data(), task=task)
    start = client.network[1].weight.clone()
    returned = client.train({"0": {"bias": torch.zeros(4)}})
    assert list(returned) == ["0"]
    head = client.network[1].weight.clone()
    assert not head.equal(start)
    client.train(returned, plan=TrainingPlan(epochs=0))
    assert client.network[1].weight.equal(head)
    assert client.history == []


def test_parameters_of_private_layers_are_refused() -> None:
    """By name, before anything changes."""
    task = Personal()
    client = Client("alice", task.train_data(), task=task)
    with pytest.raises(TensorsError, match=r"1\.bias is not among the network's tensors"):
        client.train({"1": {"bias": torch.zeros(2)}})


def test_a_client_without_data_is_refused() -> None:
    """It would have no weight."""
    with pytest.raises(TaskError, match="no examples"):
        Client("alice", TensorDataset(torch.zeros(0, 1, 28, 28), torch.zeros(0)))
