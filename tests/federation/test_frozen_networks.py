"""Facts about frozen networks over the broker."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fanfold.runs.replay import replay
from fanfold.runs.settings import ReplaySettings
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.tensor_codec import parameters_sha256
from tests.federation.any_networks import Points

TASK = f"{__name__}:LargeBody"
FROZEN_BYTES = 4 * 4 * 5000


class LargeBody(Points):
    """Random features, as from a file that everybody has, and a small head that is trained."""

    def network(self) -> nn.Module:
        body = nn.Linear(4, 5000, bias=False).requires_grad_(requires_grad=False)
        with torch.no_grad():
            body.weight.copy_(torch.linspace(-1, 1, 20_000).sin().reshape(5000, 4))
        pool = nn.AdaptiveAvgPool1d(8)
        return nn.Sequential(body, nn.ReLU(), pool, nn.Linear(8, 2))


class AnotherBody(LargeBody):
    def network(self) -> nn.Module:
        network = super().network()
        with torch.no_grad():
            next(network.parameters()).mul_(2)
        return network


def test_what_is_frozen_does_not_travel_and_the_model_is_whole(live: Any) -> None:
    """It is evaluated to the end; one who joins late needs nothing more; and it is replayed."""
    first = live.coordinator(TASK, rounds=100_000)
    live.participant(TASK, 0, 2)
    first.wait_for("round_closed", times=2)
    first.stop("enough")
    done = first.result.result(90).rounds
    coordinator = live.coordinator(TASK, rounds=done + 3, min_participants=2)
    live.participant(TASK, 1, 2)
    outcome = coordinator.result.result(90)
    closed = coordinator.all("round_closed")
    assert all(each["bytes_down"] < FROZEN_BYTES / 4 * each["updates"] for each in closed)
    assert closed[-1]["accuracy"] is not None  # a fast round's evaluation may be left out
    model = load_file(outcome.model)
    LargeBody().network().load_state_dict(model, strict=True)
    assert outcome.parameters_sha256 == parameters_sha256(model)
    settings = ReplaySettings(out=live.out, num_partitions=2, device="cpu")
    replayed = replay(settings, say=lambda _event: None)
    assert (replayed.agrees, replayed.parameters_sha256) == (True, outcome.parameters_sha256)


def test_one_who_has_another_frozen_part_leaves_in_words(live: Any) -> None:
    """Both sides are told."""
    coordinator = live.coordinator(TASK, rounds=2)
    participant = live.participant(f"{__name__}:AnotherBody")
    with pytest.raises(InvalidInputError, match="frozen parameters of this participant's network"):
        participant.result.result(90)
    (left,) = coordinator.wait_for("participant_left")
    assert left["reason"].startswith("the frozen parameters of this participant's network (1 ")


def test_a_run_is_not_resumed_with_another_frozen_part(live: Any, tmp_path: Path) -> None:
    """It would evaluate, and write down, another model than the one that is trained."""
    first = live.coordinator(TASK, rounds=1000)
    live.participant(TASK)
    first.wait_for("round_closed", times=2)
    first.stop("enough")
    first.result.result(90)
    second = live.coordinator(f"{__name__}:AnotherBody", rounds=1000)
    with pytest.raises(InvalidInputError, match=r"the frozen parameters .* are not those the run"):
        second.result.result(90)


def test_a_private_run_goes_with_a_frozen_part(live: Any) -> None:
    """What is not trained has no delta to hide."""
    coordinator = live.coordinator(TASK, rounds=2, dp_clip=1.0, dp_noise=0.5, dp_divisor=1)
    live.participant(TASK)
    assert coordinator.result.result(90).rounds == 2
