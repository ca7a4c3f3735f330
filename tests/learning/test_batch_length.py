"""Facts about how many examples a batch holds."""

from collections import UserDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from fanfold.learning import batch_length, to_device


@dataclass
class Pair:
    """A batch of one's own."""

    names: list[str]
    values: Tensor


class Tokens(UserDict[str, Any]):
    """As a tokenizer gives them: a mapping that moves itself."""

    moved_to: torch.device | None = None

    def to(self, device: torch.device) -> "Tokens":
        self.moved_to = device
        return self


THREE = torch.zeros(3, 2)


@pytest.mark.parametrize(
    "batch",
    [
        THREE,
        (THREE, 1),
        {"text": ["a", "b", "c"], "values": THREE},
        {"scale": torch.tensor(1.0), "values": THREE},
        [{"inside": (["a"], THREE)}],
        {"text": ["a", "b", "c"]},
        (("a", "b", "c"), ("x", "y", "z")),
        Pair(["a"], THREE),
        Tokens(ids=THREE),
        pack_sequence([torch.zeros(4), torch.zeros(2), torch.zeros(1)]),
    ],
)
def test_the_first_tensor_with_a_dimension_says_it_or_else_the_first_list(batch: Any) -> None:
    """Wherever it is, and whatever stands before it."""
    assert batch_length(batch) == 3


@pytest.mark.parametrize("batch", ["text", 3.0, {}, [], torch.tensor(2.0)])
def test_what_holds_no_examples_is_one(batch: Any) -> None:
    """A mean over batches is then a mean of equals."""
    assert batch_length(batch) == 1


def test_what_can_move_itself_does() -> None:
    """Tokenized texts keep their type, and packed sequences their lengths on the CPU."""
    tokens = Tokens(ids=THREE)
    assert to_device(tokens, torch.device("cpu")) is tokens
    assert tokens.moved_to == torch.device("cpu")


def test_an_object_of_ones_own_is_moved_part_by_part() -> None:
    """It stays what it is."""
    moved = to_device(Pair(["a"], THREE), torch.device("meta"))
    assert (type(moved), moved.names, moved.values.device.type) == (Pair, ["a"], "meta")
