import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fanfold.learning import (
    FederatedNet,
    TensorsError,
    find_layers,
    flatten,
    named_tensors,
    nest,
    replace_tensors,
    shared_tensors,
)

NAMES = st.from_regex(r"[a-z0-9_]{1,5}", fullmatch=True)
FLAT_NAMES = st.lists(NAMES, min_size=1, max_size=4).map(".".join)


class Nested(nn.Module):
    """A parameter on the root, a nested layer with buffers, and a tied output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.embedding = nn.Embedding(5, 3)
        self.body = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embedding.weight
        self.register_buffer("scratch", torch.zeros(7), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(tokens)))


def test_names_are_those_of_state_dict_with_tied_tensors_once() -> None:
    """Nested layers, the root and buffers are there; the second name of a tie is not."""
    assert list(named_tensors(Nested())) == [
        "scale",
        "embedding.weight",
        "body.0.weight",
        "body.0.bias",
        "body.1.weight",
        "body.1.bias",
        "body.1.running_mean",
        "body.1.running_var",
        "body.1.num_batches_tracked",
        "head.bias",
    ]


def test_layers_are_found_by_what_they_hold() -> None:
    """A layer is a module with tensors of its own; the root counts as the layer without a name."""
    network = Nested()
    layers = find_layers(network)
    assert list(layers) == ["", "embedding", "body.0", "body.1", "head"]
    assert layers[""] is network
    assert layers["body.0"] is network.body[0]


def test_tensors_are_live_and_detached() -> None:
    """What is read follows the network and carries no gradient."""
    network = FederatedNet()
    bias = named_tensors(network)["conv1.bias"]
    assert not bias.requires_grad
    with torch.no_grad():
        network.conv1.bias.fill_(3)
    assert bias.eq(3).all()


@given(st.dictionaries(FLAT_NAMES, st.integers(0, 9)))
def test_nesting_undoes_flattening(values: dict[str, int]) -> None:
    """Flat and nested names say the same."""
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    assert flatten(nest(tensors)) == tensors


def test_tensors_on_the_root_nest_under_the_empty_layer() -> None:
    """No dot is put before the name of a tensor that lies right on the root."""
    one = torch.ones(1)
    assert nest({"scale": one, "conv1.weight": one}) == {
        "": {"scale": one},
        "conv1": {"weight": one},
    }
    assert list(flatten({"": {"scale": one}})) == ["scale"]


def test_a_part_can_be_replaced() -> None:
    """Tensors that are not named stay as they are."""
    network = FederatedNet()
    before = {name: tensor.clone() for name, tensor in named_tensors(network).items()}
    replace_tensors(named_tensors(network), {"linear.bias": torch.arange(10)})
    after = named_tensors(network)
    assert after["linear.bias"].tolist() == list(range(10))
    assert all(after[name].equal(before[name]) for name in before if name != "linear.bias")


def test_setting_a_tied_tensor_sets_both_layers() -> None:
    """It travels once, under its first name."""
    network = Nested()
    replace_tensors(named_tensors(network), {"embedding.weight": torch.full((5, 3), 2.0)})
    assert network.head.weight.eq(2).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conv3.weight", torch.zeros(1), "conv3.weight is not among the network's tensors"),
        ("linear.bias", torch.zeros(3), r"linear.bias has the shape \(10,\), not \(3,\)"),
        ("linear.bias", [0.0] * 10, "linear.bias is no tensor but a list"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(
    name: str, value: Tensor, message: str
) -> None:
    """One misfit among good tensors leaves the network as it was."""
    network = FederatedNet()
    before = network.conv1.bias.clone()
    with pytest.raises(TensorsError, match=message):
        replace_tensors(named_tensors(network), {"conv1.bias": torch.ones(20), name: value})
    assert network.conv1.bias.equal(before)


def test_all_misfits_are_named_at_once() -> None:
    """Nobody has to repair them one by one."""
    with pytest.raises(TensorsError, match=r"a is not among .*; b is not among"):
        replace_tensors({}, {"a": torch.ones(1), "b": torch.ones(1)})


@pytest.mark.parametrize(
    ("patterns", "shared"),
    [
        (["head.*"], ["head.bias"]),
        (["scale", "*.bias"], ["scale", "body.0.bias", "body.1.bias", "head.bias"]),
        (["!body.*", "!embedding.*"], ["scale", "head.bias"]),
        (["body.*", "!*.running_*", "!*.num_*", "!body.0.*"], ["body.1.weight", "body.1.bias"]),
    ],
)
def test_patterns_choose_what_is_shared(patterns: list[str], shared: list[str]) -> None:
    """A pattern takes in, one with an exclamation mark leaves out."""
    assert list(shared_tensors(Nested(), patterns)) == shared


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    """A typing error must not silently keep a layer private."""
    with pytest.raises(
        TensorsError, match=r"'conv7\.\*' matches no tensor; there are: conv1.weight"
    ):
        shared_tensors(FederatedNet(), ["conv7.*"])


def test_sharing_nothing_is_refused() -> None:
    """A federation without a tensor is none."""
    with pytest.raises(TensorsError, match="leave no tensor to share"):
        shared_tensors(FederatedNet(), ["!*"])


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_layers_are_refused() -> None:
    """A parameter without a shape cannot travel."""
    with pytest.raises(TensorsError, match=r"0\.weight has no shape yet"):
        named_tensors(nn.Sequential(nn.LazyLinear(3)))
