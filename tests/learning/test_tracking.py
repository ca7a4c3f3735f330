import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.learning import FederatedNet, TensorsError, TrackedModule, shared_tensors


class TwoHeads(TrackedModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 3)
        self.tied_head = nn.Linear(4, 3)
        self.tied_head.weight = self.head.weight
        self.tied_head.bias = self.head.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs))


def test_the_default_network_is_the_articles() -> None:
    """65,850 parameters in conv1, conv2 and linear; images of 1x28x28 to ten scores."""
    network = FederatedNet()
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_850
    assert list(network.get_track_layers()) == ["conv1", "conv2", "linear"]
    assert network.get_track_layers()["conv1"] is network.conv1
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_parameters_are_a_nested_copy() -> None:
    """Layer -> {weight, bias}; what was read does not change with the network."""
    network = FederatedNet()
    parameters = network.get_parameters()
    assert {layer: list(tensors) for layer, tensors in parameters.items()} == {
        "conv1": ["weight", "bias"],
        "conv2": ["weight", "bias"],
        "linear": ["weight", "bias"],
    }
    parameters["conv1"]["weight"].zero_()
    assert network.conv1.weight.any()


def test_applied_parameters_are_read_back() -> None:
    """A network becomes another one, in place: its parameters stay the same objects."""
    one, other = FederatedNet(), FederatedNet()
    weight = one.conv1.weight
    one.apply_parameters(other.get_parameters())
    images = torch.rand(2, 1, 28, 28)
    assert one(images).equal(other(images))
    assert one.conv1.weight is weight
    assert weight.requires_grad


def test_a_partial_update_changes_only_its_layers() -> None:
    """Layers and tensors may be missing."""
    network = FederatedNet()
    before = network.get_parameters()
    network.apply_parameters({"linear": {"bias": torch.ones(10)}})
    after = network.get_parameters()
    assert after["linear"]["bias"].eq(1).all()
    assert after["linear"]["weight"].equal(before["linear"]["weight"])


@pytest.mark.parametrize("narrow", [["conv1", "conv2"], {"conv1": None, "conv2": None}])
def test_the_table_can_be_narrowed(narrow: object) -> None:
    """By names or by a table; what is not tracked is neither read, replaced nor shared."""
    network = FederatedNet()
    network.track_layers = narrow
    assert list(network.get_parameters()) == ["conv1", "conv2"]
    assert {name.split(".")[0] for name in shared_tensors(network)} == {"conv1", "conv2"}
    with pytest.raises(TensorsError, match=r"linear\.bias is not among the network's tensors"):
        network.apply_parameters({"linear": {"bias": torch.ones(10)}})


def test_narrowing_can_be_undone_and_survives_a_copy() -> None:
    """The table holds names, so that a copy's table names the copy's own layers."""
    network = FederatedNet()
    network.track_layers = ["linear"]
    twin = copy.deepcopy(network)
    assert twin.track_layers == {"linear": twin.linear}
    network.track_layers = None
    assert list(network.track_layers) == ["conv1", "conv2", "linear"]


def test_a_name_takes_in_the_layers_beneath_it() -> None:
    """A container stands for what it contains."""
    network = TwoHeads()
    network.track_layers = ["body"]
    assert list(network.track_layers) == ["body.0", "body.1"]


def test_a_tied_layer_can_be_tracked_by_its_second_name() -> None:
    """By itself the table lists the first one only."""
    network = TwoHeads()
    assert "tied_head" not in network.track_layers
    network.track_layers = ["tied_head"]
    assert list(network.get_parameters()) == ["tied_head"]


def test_an_unknown_layer_is_refused_by_name() -> None:
    """The message says which layers there are."""
    network = FederatedNet()
    with pytest.raises(
        TensorsError, match="no layer 'conv3' holds tensors; there are: conv1, conv2"
    ):
        network.track_layers = ["conv3"]


def test_a_batch_gives_cross_entropy_and_accuracy() -> None:
    """As in the article."""
    network = FederatedNet()
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    loss, accuracy = network._process_batch((images, labels))
    outputs = network(images)
    assert loss.equal(nn.functional.cross_entropy(outputs, labels))
    assert accuracy.item() == (outputs.argmax(1) == labels).sum().item() / 8
    assert network.batch_accuracy(outputs, outputs.argmax(1)).item() == 1


def test_a_network_trains_and_evaluates_itself() -> None:
    """fit(dataset, epochs, lr) gives (loss, accuracy) per epoch, evaluate gives one of them."""
    torch.manual_seed(0)
    network = FederatedNet()
    dataset = TensorDataset(torch.rand(20, 1, 28, 28), torch.zeros(20, dtype=torch.int64))
    history = network.fit(dataset, 3, 0.05, batch_size=8)
    assert len(history) == 3
    assert history[-1][0] < history[0][0]
    loss, accuracy = network.evaluate(dataset)
    assert loss < history[0][0]
    assert accuracy == 1.0


def test_an_overridden_batch_is_what_trains() -> None:
    """A network that computes its loss in its own way keeps it in fit and evaluate."""

    class Halved(FederatedNet):
        def _process_batch(self, batch: Any) -> tuple[Any, Any]:
            loss, accuracy = super()._process_batch(batch)
            return loss / 2, accuracy

    network = FederatedNet()
    halved = Halved()
    halved.apply_parameters(network.get_parameters())
    dataset = TensorDataset(torch.rand(6, 1, 28, 28), torch.arange(6))
    assert halved.evaluate(dataset)[0] == pytest.approx(network.evaluate(dataset)[0] / 2)
    assert halved.fit(dataset, 1, 0.1)[0][0] == pytest.approx(
        network.fit(dataset, 1, 0.1)[0][0] / 2
    )
