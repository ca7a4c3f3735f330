"""Facts about what a run began with."""

import pytest
import torch

from fanfold.coordinator.aggregation.origin import Origin
from fanfold.schemas.errors import InvalidInputError

TENSORS = {"weight": torch.ones(2), "count": torch.tensor(3)}
KINDS = {"weight": "delta", "count": "value"}


def test_only_parameters_tell_whether_something_was_learned() -> None:
    """A counter that counts is no learning."""
    origin = Origin.of(TENSORS, KINDS)
    assert origin.is_still(TENSORS | {"count": torch.tensor(4)}, KINDS)
    assert not origin.is_still(TENSORS | {"weight": torch.tensor([1.0, 2.0])}, KINDS)


def test_a_checkpoint_says_what_a_run_began_with() -> None:
    """An older one says nothing; one with another frozen part is refused."""
    began, now = Origin("a" * 64, "f" * 64), Origin("b" * 64, "f" * 64)
    assert now.resumed(began.state()) == began
    assert now.resumed(None) == now
    with pytest.raises(
        InvalidInputError, match=r"frozen parameters .* are not those the run began"
    ):
        Origin("b" * 64, None).resumed(began.state())
